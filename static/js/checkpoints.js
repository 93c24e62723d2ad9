/* Looks after checkpoints that are under way: when one's state changes, the page is fetched anew.
   Without this script a reload shows the same. */
$(function () {
  "use strict";

  const PAUSE = 2000, SLOWEST = 10000;  // ms between two looks
  const $watched = $("[data-watch]");
  const $busy = $watched.find("[data-state]").addBack("[data-state]")
    .filter("[data-state=uploading], [data-state=inspecting]");
  let pause = PAUSE;

  function look() {
    $.ajax({ url: $watched.data("watch"), dataType: "json", timeout: 15000 }).then((answer) => {
      const now = new Map([].concat(answer).map((row) => [row.id, row.state]));
      const changed = $busy.get().some((el) => now.get(el.dataset.id) !== el.dataset.state);
      if (changed) location.reload();
      else later();
    }, later);
  }

  function later() {
    setTimeout(look, pause);
    pause = Math.min(pause * 1.2, SLOWEST);
  }

  if ($busy.length) later();
});
