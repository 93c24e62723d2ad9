/* Uploading checkpoints: each file is read once for its digest, then the server is asked where its
   upload stands (nowhere, half-way, or all there), and tus goes on from that point. What has been
   sent is known to the server alone, so any browser can go on with what another began. */
$(function () {
  "use strict";

  const $page = $("#upload");
  const words = JSON.parse($("#words").text());
  const token = $page.find("[name=csrfmiddlewaretoken]").val();
  const AT_ONCE = 2;  // files under way; others wait in line
  const CHUNK = 16 * 2 ** 20;  // bytes a request, so that proxies with a limit let it through
  const RETRIES = [0, 1000, 3000, 5000, 10000, 20000, 30000, 60000];  // ms
  const LOOK = 1500;  // ms between two looks at an inspection
  const line = [];
  let busy = 0;

  const say = (text) => $("#news").text(text);
  const size = (bytes) => {
    const units = ["bytes", "KB", "MB", "GB", "TB"];
    const power = bytes < 1024 ? 0 : Math.min(4, Math.floor(Math.log(bytes) / Math.log(1024)));
    return (bytes / 1024 ** power).toFixed(power ? 1 : 0) + " " + units[power];
  };
  const time = (seconds) =>
    seconds < 90 ? Math.ceil(seconds) + " s" : seconds < 5400 ? Math.round(seconds / 60) + " min"
      : (seconds / 3600).toFixed(1) + " h";
  const base64 = (text) =>
    btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));

  // One file ----------------------------------------------------------------------------------
  class Sending {
    constructor(file) {
      this.file = file;
      this.$row = $($("#upload-template").prop("content").firstElementChild.cloneNode(true));
      this.$row.find(".name").text(file.name);
      this.$row.find("progress").attr("aria-label", "Progress of " + file.name);
      this.$row.find("button").each((_, el) => $(el).attr("aria-label", $(el).text() + " " + file.name));
      this.$row.on("click", "[data-do]", (event) => this[event.currentTarget.dataset.do]());
      $(".uploads").first().prepend(this.$row);
      this.waits();
      // What was only lost with the network goes on with it.
      $(window).on("online", () => this.comesBack());
    }

    show(state, note, progress) {
      this.$row.attr("data-state", state);
      this.$row.find(".note").text(note);
      const $bar = this.$row.find("progress");
      if (progress === null) $bar.removeAttr("value");
      else if (progress !== undefined) $bar.attr("value", progress);
    }

    buttons(...shown) {
      const $buttons = this.$row.find("[data-do]");
      const hadFocus = $buttons.is(":focus");
      $buttons.each((_, el) => $(el).prop("hidden", !shown.includes(el.dataset.do)));
      if (hadFocus && !$buttons.is(":focus")) $buttons.not("[hidden]").first().trigger("focus");
    }

    waits() {
      this.show("waiting", "Waiting for its turn, " + size(this.file.size));
      this.buttons("end");
      line.push(this);
      next();
    }

    begin() {
      this.buttons("pause", "end");
      if (this.digest) this.ask();
      else this.read();
    }

    // The digest ------------------------------------------------------------------------------
    read() {
      this.show("reading", "Reading the file", 0);
      this.hasher = new Worker($page.data("hasher"), { type: "module" });
      const unreadable = () => this.fails("The file cannot be read. Was it moved? Choose it again.");
      this.hasher.onerror = unreadable;
      this.hasher.onmessage = ({ data }) => {
        if (data.error) unreadable();
        else if (data.digest) {
          this.digest = data.digest;
          this.stopReading();
          this.ask();
        } else this.show("reading", "Reading the file, " + Math.floor(data.done * 100) + " %", data.done);
      };
      this.hasher.postMessage(this.file);
    }

    stopReading() {
      if (this.hasher) this.hasher.terminate();
      this.hasher = null;
    }

    // Where does it stand? --------------------------------------------------------------------
    ask() {
      this.show("asking", "Asking the server", null);
      $.ajax({
        method: "POST",
        url: $page.data("uploads"),
        headers: {
          "Tus-Resumable": "1.0.0",
          "X-CSRFToken": token,
          "Upload-Length": this.file.size,
          "Upload-Metadata": "filename " + base64(this.file.name) + ",sha256 " + base64(this.digest),
        },
      }).then((_, __, xhr) => {
        if (this.$row.attr("data-state") !== "asking") return;  // paused or given up meanwhile
        this.url = new URL(xhr.getResponseHeader("Location"), location.href).href;
        $(".half .upload").filter((_, el) => this.url.endsWith(el.dataset.upload)).remove();
        if (!$(".half .upload").length) $(".half").remove();
        const checkpoint = xhr.getResponseHeader("Checkpoint");
        if (checkpoint) this.whole(checkpoint, "It is here already. ");
        else this.send();
      }, (xhr) => {
        this.lost = xhr.status === 0;
        this.fails(explain(xhr.status, xhr.responseText));
      });
    }

    // Sending ---------------------------------------------------------------------------------
    send() {
      this.marks = [];
      this.show("sending", "Sending");
      this.tus = new tus.Upload(this.file, {
        uploadUrl: this.url,
        chunkSize: CHUNK,
        retryDelays: RETRIES,
        storeFingerprintForResuming: false,  // the server knows
        headers: { "X-CSRFToken": token },
        onShouldRetry: (error) => {
          const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
          const again = status === 0 || status === 409 || (status >= 500 && status !== 507);
          this.lost = again;
          if (again) this.show("sending", "The connection is lost; trying again");
          return again;
        },
        onProgress: (sent, total) => this.progress(sent, total),
        onAfterResponse: (_, response) => {
          this.checkpoint = response.getHeader("Checkpoint") || this.checkpoint;
        },
        onSuccess: () => this.whole(this.checkpoint, ""),
        onError: (error) => {
          const response = error.originalResponse;
          this.lost = !response;  // the browser may find the network again
          this.fails(explain(response ? response.getStatus() : 0, response ? response.getBody() : ""));
        },
      });
      this.tus.start();
    }

    comesBack() {
      if (!this.lost) return;
      this.lost = false;
      if (this.over) return this.resume();
      this.tus.abort();
      this.tus.start();
    }

    progress(sent, total) {
      this.lost = false;
      const now = performance.now();
      this.marks = this.marks.filter(([when]) => now - when < 5000);
      this.marks.push([now, sent]);
      const [since, before] = this.marks[0];
      const speed = now - since > 500 ? (sent - before) / (now - since) * 1000 : 0;
      const left = speed > 0 ? ", " + size(speed) + "/s, " + time((total - sent) / speed) + " left" : "";
      this.show("sending", size(sent) + " of " + size(total) + left, total ? sent / total : 1);
    }

    // Buttons ---------------------------------------------------------------------------------
    stop() {
      if (this.tus) this.tus.abort();
      this.stopReading();
      const place = line.indexOf(this);
      if (place >= 0) line.splice(place, 1);
      else if (!this.over) free();
      this.over = true;
    }

    pause() {
      this.lost = false;
      this.stop();
      this.show("paused", "Paused. What was sent is kept.");
      this.buttons("resume", "end");
    }

    resume() {
      this.over = this.lost = false;
      this.waits();
    }

    end() {
      this.lost = false;
      this.stop();
      const url = this.url;
      if (url) $.ajax({ method: "DELETE", url, headers: { "Tus-Resumable": "1.0.0", "X-CSRFToken": token } });
      this.$row.remove();
      say("Gave up " + this.file.name + ".");
      $("#files").trigger("focus");
    }

    fails(note) {
      this.stop();
      this.show("failed", note);
      this.buttons("resume", "end");
      say(this.file.name + ": " + note);
    }

    // All there -------------------------------------------------------------------------------
    whole(checkpoint, note) {
      this.over = true;
      free();
      this.buttons();
      const url = new URL(checkpoint, location.href).pathname;
      const id = url.split("/").filter(Boolean).pop();
      this.$row.find("[data-report]").attr("href", $page.data("reports") + id + "/").prop("hidden", false);
      this.show("inspecting", note + "All of it is here. " + words.inspecting.what, null);
      say(this.file.name + " is here.");
      this.watch(url, note);
    }

    watch(url, note) {
      const later = () => setTimeout(() => this.watch(url, note), LOOK);
      $.ajax({ url, dataType: "json", timeout: 15000 }).then((row) => {
        if (row.state === "inspecting") return later();
        const word = words[row.state];
        this.show(row.state, note + word.name + ". " + (row.reason || word.what), 1);
        return say(this.file.name + ": " + word.name + ".");
      }, (xhr) => (xhr.status === 0 || xhr.status >= 500 ? later()
        : this.show("failed", explain(xhr.status, xhr.responseText))));
    }
  }

  // The line ----------------------------------------------------------------------------------
  function next() {
    while (busy < AT_ONCE && line.length) {
      busy += 1;
      line.shift().begin();
    }
  }

  function free() {
    busy -= 1;
    next();
  }

  function explain(status, body) {
    if (status === 0) return "The server does not answer. What was sent is kept: resume when it does.";
    if (status === 401 || status === 403) return "You are no longer signed in. Sign in again in another tab, then resume.";
    if (status === 404) return "The server has forgotten this upload. Resume begins it anew.";
    try {
      return JSON.parse(body).detail;
    } catch {
      return "The server answered with error " + status + ". What was sent is kept: resume to try again.";
    }
  }

  // Choosing ----------------------------------------------------------------------------------
  const $drop = $(".drop");
  const take = (files) => Array.from(files).forEach((file) => new Sending(file));

  $("#files").on("change", function () {
    take(this.files);
    this.value = "";  // the same file may be chosen again
  });
  $(document).on("dragover drop", (event) => event.preventDefault());  // a near miss opens no file
  $drop.on("dragenter dragover", () => $drop.addClass("drop--over"));
  $drop.on("dragleave drop", () => $drop.removeClass("drop--over"));
  $drop.on("drop", (event) => take(event.originalEvent.dataTransfer.files));
  $(window).on("beforeunload", (event) => {
    if (busy) event.preventDefault();  // the browser asks whether to leave
  });
});
