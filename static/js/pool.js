/* Keeps the figures on a pool's page fresh. Forms are left alone: they say what was so when the page
   was loaded, and the server refuses them where somebody else has changed the pool since. */
$(function () {
  "use strict";

  const SOON = 4000, SLOWEST = 60000;  // ms between two looks
  const $now = $("[data-now]");
  let pause = SOON;

  function refresh() {
    if (document.hidden) return later();
    $.ajax({ url: $now.data("now"), dataType: "html", timeout: 15000 }).then((html) => {
      pause = SOON;
      $(html).filter("[data-part]").each((_, part) => {
        const here = $now.find(`[data-part=${part.dataset.part}]`)[0];
        // A link that has the keyboard's focus must not vanish under it.
        if (!here.contains(document.activeElement)) here.innerHTML = part.innerHTML;
      });
      later();
    }, () => {
      pause = Math.min(pause * 2, SLOWEST);
      later();
    });
  }

  function later() {
    setTimeout(refresh, pause);
  }

  /* What a link leads to is opened. */
  function open() {
    const $panel = $(location.hash || null).filter("details");
    $panel.prop("open", true).find("> summary").trigger("focus");
  }

  $(window).on("hashchange", open);
  open();
  later();
});
