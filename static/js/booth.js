/* The booth: a click, a claim, a picture. Talks to /api/v1/ only; without this script the same
   form posts to the server and the pages do the same work by redirects. */
$(function () {
  "use strict";

  const $booth = $(".booth");
  const $form = $booth.find("form");
  const $go = $form.find("[type=submit]");
  const $leave = $form.find("[data-leave]");
  const $strip = $(".strip ol");
  const STRIP_LENGTH = 12;
  const FIRST_PAUSE = 1, LONGEST_PAUSE = 8;  // seconds between two looks at a ticket
  const PATIENCE = 8;  // looks in a row that may go unanswered
  const CURTAIN = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 150;  // ms to close
  let closed = Promise.resolve();  // until then the picture must not be changed
  let waiting = null;  // the timer of the next look

  // Saying things -----------------------------------------------------------------------------
  const given = (id) => JSON.parse($("#" + id).text() || "{}");
  const notices = given("notices");
  const rules = given("rules");
  const say = (words) => $("#news").text(words);
  const setState = (state) => $booth.attr("data-state", state);
  const inWords = (seconds, unit, many) =>
    seconds < 90 ? Math.ceil(seconds) + unit : Math.round(seconds / 60) + many;
  const describe = (tags) => "Cartoon avatar" + (tags.length ? ": " + tags.join(", ") : "");
  const pauseOf = (xhr) => Number(xhr.getResponseHeader("Retry-After")) || 0;

  function trouble(notice, pause) {
    leaveLine();
    setState("trouble");
    $(".result, #portrait").prop("hidden", true);
    $(".trouble").prop("hidden", false).find("h2").text(notice.title);
    $("[data-what]").text(notice.what
      + (pause ? " Try again in " + inWords(pause, pause > 1 ? " seconds." : " second.", " minutes.") : ""));
  }

  // Problem answers (RFC 9457) in words a visitor can act on.
  function explain(xhr) {
    const problem = xhr.responseJSON || {};
    const code = xhr.status === 0 ? "no_connection"
      : problem.code || (xhr.status === 429 ? "throttled" : "");
    trouble(notices[code] || {
      title: problem.title || "That did not work",
      what: problem.detail || "The server answered with error " + xhr.status + ". Try again.",
    }, pauseOf(xhr));
    if (xhr.status === 429) rest(pauseOf(xhr) || 10);
  }

  // The button rests for as long as the server asked, and shows for how long.
  function rest(seconds) {
    const label = $go.text();
    let left = Math.ceil(seconds);
    $go.attr("aria-disabled", "true").text("Again in " + left + " s");
    const clock = setInterval(() => {
      left -= 1;
      if (left > 0) return $go.text("Again in " + left + " s");
      clearInterval(clock);
      $go.removeAttr("aria-disabled").text(label);
      return say("You can try again now.");
    }, 1000);
  }

  // Claiming ----------------------------------------------------------------------------------
  function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  const chosenPool = () => $form.find("[name=pool]:checked, [name=pool][type=hidden]").val();
  const chosenTags = () =>
    $form.find(".filters:not([hidden]) select").map((_, el) => el.value || null).get();

  function claim(event) {
    event.preventDefault();
    if ($go.attr("aria-disabled") === "true") return;
    $go.attr("aria-disabled", "true");
    $(".trouble").prop("hidden", true);
    setState("working");
    closed = new Promise((done) => setTimeout(done, CURTAIN));
    say("");
    const request = {
      method: "POST",
      url: $booth.data("claim"),
      data: JSON.stringify({ pool: chosenPool(), tags: chosenTags() }),
      contentType: "application/json",
      dataType: "json",
      timeout: 20000,
      headers: { "Idempotency-Key": newKey() },  // sent again, it brings the same avatar
    };
    $.ajax(request)
      .catch((xhr) => (xhr.status === 0 ? $.ajax(request) : $.Deferred().reject(xhr)))
      .always(() => $go.removeAttr("aria-disabled"))
      .then((answer, _, xhr) => {
        if (xhr.status === 202) queueUp(here(xhr.getResponseHeader("Location")), answer, pauseOf(xhr));
        else show(answer);
      }, explain);
  }

  // Waiting on a ticket -----------------------------------------------------------------------
  function queueUp(url, ticket, pause) {
    setState("waiting");
    $(".result, .trouble").prop("hidden", true);
    $(".queue").prop("hidden", false);
    $leave.prop("hidden", false).trigger("focus");
    $go.prop("hidden", true);
    showPlace(ticket);
    // A reload now lands on the ticket's own page and goes on waiting.
    if (ticket.id) history.replaceState(null, "", $booth.data("tickets") + ticket.id + "/");
    lookLater(url, FIRST_PAUSE, pause, 0);
  }

  function showPlace(ticket) {
    const place = ticket.position > 1 ? "Number " + ticket.position + " in line" : "You are next";
    const eta = ticket.eta_seconds;
    const wait = eta == null ? "" : "about " + inWords(eta, " s", " minutes");
    if ($("[data-place]").text() !== place) say((wait ? place + ", " + wait : place) + ".");  // seconds alone are no news
    $("[data-place], .plate").text(place);
    $("[data-wait]").text(wait);
    $("[data-note]").text(ticket.note || "").prop("hidden", !ticket.note);
    if (ticket.progress == null) $(".queue progress").removeAttr("value");
    else $(".queue progress").attr("value", ticket.progress);
  }

  function lookLater(url, pause, atLeast, lost) {
    waiting = setTimeout(() => look(url, Math.min(pause * 1.4, LONGEST_PAUSE), lost),
      Math.max(pause, atLeast) * 1000);
  }

  function look(url, pause, lost) {
    const turn = waiting;
    const whileWaiting = (then) => (...args) => { if (waiting === turn) then(...args); };
    $.ajax({ url: url, dataType: "json", timeout: 15000, cache: false }).then(
      whileWaiting((ticket, _, xhr) => {
        if (ticket.state === "served") show(ticket.avatar);
        else if (ticket.state === "expired") trouble(notices.ticket_expired);
        else {
          showPlace(ticket);
          lookLater(url, pause, pauseOf(xhr), 0);
        }
      }),
      whileWaiting((xhr) => {
        if (xhr.status === 404) trouble(notices.ticket_expired);
        else if (lost + 1 >= PATIENCE) explain(xhr);
        else {
          $("[data-wait]").text("no answer, looking again");
          lookLater(url, pause, pauseOf(xhr), lost + 1);
        }
      }));
  }

  // Back to the page as it is out of the line, whatever comes next.
  function leaveLine() {
    const hadFocus = $leave.is(":focus");
    clearTimeout(waiting);
    waiting = null;
    $leave.prop("hidden", true);
    $(".queue").prop("hidden", true);
    $go.prop("hidden", false);
    if (hadFocus) $go.trigger("focus");
    if (location.pathname !== $booth.data("home")) history.replaceState(null, "", $booth.data("home"));
  }

  function leave(event) {
    event.preventDefault();
    leaveLine();
    setState("idle");
    $("#portrait").prop("hidden", true);
    say("You left the line.");
  }

  // Showing -----------------------------------------------------------------------------------
  // Addresses are cut down to their path: the page knows best how it was reached.
  const here = (address) => new URL(address, location.href).pathname;
  const sized = (image, size, format) => here(image) + "?size=" + size + "&format=" + format;

  function show(avatar) {
    const picture = new Image();
    picture.src = sized(avatar.image, 512, "png");
    Promise.all([picture.decode(), closed]).then(() => {
      leaveLine();
      $("#portrait").attr({ src: picture.src, alt: describe(avatar.tags) }).prop("hidden", false);
      $(".traits").empty().append(avatar.tags.map((tag) => $("<li>").text(tag)));
      $(".traits").prop("hidden", !avatar.tags.length);
      fillIn(avatar);
      $(".result").prop("hidden", false);
      setState("ready");
      $go.text("Generate another");
      say(describe(avatar.tags) + ".");
      remember(avatar);
    }, () => trouble(notices.no_picture));
  }

  function fillIn(avatar) {
    $(".take [data-size]").each(function () {
      const size = $(this).data("size"), format = $(this).data("format");
      $(this).attr({
        href: sized(avatar.image, size, format),
        download: "avatar-" + String(avatar.id).slice(0, 8) + "-" + size + "." + format,
      });
    });
    $("[data-copy]").attr("data-copy", location.origin + here(avatar.page));
    $(".copied").prop("hidden", true);
  }

  // The server keeps the strip; this only saves a reload.
  function remember(avatar) {
    const $picture = $("<img>").attr({
      src: sized(avatar.image, 256, "webp"), alt: describe(avatar.tags), width: 100, height: 100,
    });
    $strip.prepend($("<li>").append($("<a>").attr("href", here(avatar.page)).append($picture)));
    const $blank = $strip.children(".blank").last();
    if ($blank.length) $blank.remove();
    else $strip.children().slice(STRIP_LENGTH).remove();
  }

  // Copying: the clipboard wants a secure page, a plain http one falls back to the old command.
  async function copyLink() {
    const link = $(this).attr("data-copy");
    let done = true;
    try {
      await navigator.clipboard.writeText(link);
    } catch {
      const $field = $("<textarea>").addClass("unseen").val(link).appendTo(document.body);
      $field.trigger("select");
      done = document.execCommand("copy");
      $field.remove();
      $(this).trigger("focus");
    }
    $(".copied").prop("hidden", false).text(done ? "Link copied." : link);
  }

  // Traits ------------------------------------------------------------------------------------
  function showTraits() {
    const pool = chosenPool();
    $(".filters").each(function () {
      $(this).prop("hidden", $(this).data("pool") !== pool);
    });
    takeOffTheMenu(pool);
    const tags = chosenTags();
    $("#traits").prop("hidden", !$(".filters:not([hidden])").length)
      .find(".chosen").text(tags.join(", ") || "any");
    $("[data-clear]").prop("hidden", !tags.length);
  }

  // What the release never draws together with the traits chosen so far cannot be chosen.
  function takeOffTheMenu(pool) {
    $(".filters option").prop("disabled", false);
    for (const { when: [field, tags], then: [otherField, allowed] } of rules[pool] || []) {
      const $menu = $form.find("select").filter((_, el) => el.name === field);
      const $other = $form.find("select").filter((_, el) => el.name === otherField);
      const without = ($one, refused) =>
        $one.find("option").filter((_, el) => el.value && refused(el.value)).prop("disabled", true);
      if (tags.includes($menu.val())) without($other, (tag) => !allowed.includes(tag));
      if ($other.val() && !allowed.includes($other.val())) without($menu, (tag) => tags.includes(tag));
    }
  }

  function clearTraits() {
    $(".filters select").val("");
    showTraits();
    $("#traits summary").trigger("focus");
  }

  // Wiring ------------------------------------------------------------------------------------
  $("[data-copy]").prop("hidden", false).on("click", copyLink);
  if (!$booth.length) return;  // the page of one avatar
  $form.on("submit", claim).on("change", "select, [name=pool]", showTraits);
  $("[data-clear]").on("click", clearTraits);
  $leave.on("click", leave);
  $(document).on("keydown", (event) => {
    if (event.key === "Escape" && waiting) leave(event);
  });
  showTraits();
  if ($booth.data("ticket")) lookLater($booth.data("ticket"), FIRST_PAUSE / 4, 0, 0);
});
