/* Looks after previews that are under way: moves their bars, and fetches the page anew when one has
   ended. Without this script a reload shows the same. */
$(function () {
  "use strict";

  const PAUSE = 1000, LONGER = 5000;  // ms between two looks; the longer after one failed

  $("[data-preview]").each(function () {
    const $running = $(this), $bar = $running.find("progress"), $note = $running.find(".note");

    function look() {
      $.ajax({ url: $running.data("preview"), dataType: "json", timeout: 15000 })
        .then(show, (answer) => answer.status === 404 ? location.reload() : later(LONGER));
    }

    function show(preview) {
      if (preview.state !== "queued" && preview.state !== "running") {
        location.reload();
        return;
      }
      const percent = Math.round(100 * preview.progress.fraction);
      $bar.val(percent);
      $running.find(".percent").text(`${percent} %`);
      $note.text(preview.progress.note);
      later(PAUSE);
    }

    function later(pause) {
      setTimeout(look, pause);
    }

    later(PAUSE);
  });
});
