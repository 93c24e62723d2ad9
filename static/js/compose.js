/* Composing a release: what is chosen narrows the rest, and a summary says what there is so far.
   Which part goes with which is the server's to say; this script only asks it and shows it. */
$(function () {
  "use strict";

  const $form = $("#compose"), $news = $("#summary-news"), $list = $form.find(".summary dl");
  let asked = 0;

  function chosen(slot) {
    return $form.find(`[data-slot=${slot}] .option input:is([type=radio], [type=checkbox]):checked`);
  }

  function choice() {
    const given = [];
    for (const slot of ["prototype", "base", "adapter", "critic", "upscaler"]) {
      given.push({ name: slot, value: chosen(slot).val() || "" });
    }
    chosen("lora").each(function () { given.push({ name: "lora", value: this.value }); });
    return given;
  }

  function narrow() {
    const mine = ++asked;
    $.ajax({ url: $form.data("options"), data: $.param(choice()), dataType: "json", timeout: 20000 })
      .then((answer) => { if (mine === asked) { show(answer); summarise(); } },
            () => { if (mine === asked) $news.text("The server did not say what fits. It is checked when you compose."); });
  }

  function show(answer) {
    for (const [slot, offered] of Object.entries(answer.slots)) {
      const reasons = new Map(offered.map((one) => [one.part, one.reason]));
      if (slot === "upscaler") reasons.set("", answer.upscaler_needed);
      $form.find(`[data-slot=${slot}] .option`).each(function () {
        const reason = reasons.get(this.dataset.part) || "";
        const $input = $(this).find("input").first();
        $input.prop("disabled", Boolean(reason) && !$input.prop("checked"));
        $(this).find(".why").text(reason);
      });
    }
    for (const one of answer.vocabularies) {
      const words = one.tags ? `${one.title} (${one.tags} tags)` : one.title;
      $("#vocabulary option").filter((_, el) => el.value === one.key).text(words);
    }
  }

  function size(bytes) {
    const units = ["bytes", "KB", "MB", "GB"];
    let unit = 0;
    while (bytes >= 1024 && unit < 3) { bytes /= 1024; unit += 1; }
    return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
  }

  function summarise() {
    let bytes = 0;
    const missing = [], trouble = [];
    $list.empty();
    $form.find("[data-slot]").each(function () {
      const slot = this.dataset.slot, label = this.dataset.label;
      const names = chosen(slot).map(function () {
        const $option = $(this).closest(".option");
        bytes += Number($option.data("bytes")) || 0;
        if ($option.find(".why").text()) trouble.push($option.find("strong").text());
        const weight = $option.find(".weight input").val();
        return $option.find("strong").text() + (weight === undefined ? "" : ` × ${weight}`);
      }).get();
      if (!names.length && "required" in this.dataset) missing.push(label.toLowerCase());
      if (!names.length && slot === "lora") names.push("none");
      $list.append($("<div>").append($("<dt>").text(label), $("<dd>").text(names.join(", ") || "not chosen")));
    });
    const said = [];
    if (missing.length) said.push(`Still to choose: ${missing.join(", ")}.`);
    if (trouble.length) said.push(`Does not fit: ${trouble.join(", ")}.`);
    if (!missing.length && !trouble.length) said.push("All parts fit.");
    said.push(`Workers fetch at most ${size(bytes)}.`);
    $news.text(said.join(" "));
    const adapter = Boolean(chosen("adapter").val());
    $form.find("[data-with-adapter] input").prop("disabled", !adapter);
    $form.find("[data-slot=lora] .option").each(function () {
      $(this).find(".weight input").prop("disabled", !$(this).find("[type=checkbox]").prop("checked"));
    });
  }

  $form.on("change", ".option input:not([type=number])", () => { summarise(); narrow(); });
  $form.on("input", ".weight input", summarise);
  summarise();
  if (chosen("prototype").add(chosen("base")).length) narrow();
});
