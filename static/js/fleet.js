/* Keeps the fleet page fresh: the part that changes is fetched as HTML, the charts' figures as JSON.
   Without this script a reload shows the same, the charts in figures. */
$(function () {
  "use strict";

  const SOON = 4000, SLOWEST = 60000;  // ms between two looks
  const HISTORY = 15000;
  const HEIGHT = 190;
  const $now = $("[data-now]"), $charts = $("[data-history]"), $news = $("[data-news]");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = new Map();
  let figures = null, pause = SOON;

  /* The changing part */
  function refresh() {
    if (document.hidden) return later();
    $.ajax({ url: $now.data("now"), dataType: "html", timeout: 15000 }).then((html) => {
      pause = SOON;
      show(html);
      later();
    }, () => {
      pause = Math.min(pause * 2, SLOWEST);
      later();
    });
  }

  function later() {
    setTimeout(refresh, pause);
  }

  function show(html) {
    const open = $now.find("details[open]").get().map((el) => el.id);
    const focused = document.activeElement;
    const held = $.contains($now[0], focused) ? focused.id : "";
    const summary = focused.tagName === "SUMMARY" ? focused.parentNode.id : "";
    const before = alarms(), typed = fields();
    $(html).filter("[data-part]").each((_, part) => {
      $now.find(`[data-part=${part.dataset.part}]`).html(part.innerHTML);
    });
    open.forEach((id) => $(document.getElementById(id)).prop("open", true));
    const again = summary ? $(document.getElementById(summary)).find("summary")[0] : document.getElementById(held);
    if (again && (held || summary)) again.focus({ preventScroll: true });
    typed.forEach(refill);
    const news = alarms().filter((text) => !before.includes(text));
    if (news.length) $news.text("New alarm: " + news.join("; "));
  }

  /* What is being typed outlives the fields it was typed into. */
  function fields() {
    return $now.find("input[type=text]").get().filter((el) => el.value || el === document.activeElement).map((el) => (
      { id: el.id, value: el.value, from: el.selectionStart, to: el.selectionEnd }));
  }

  function refill({ id, value, from, to }) {
    const field = document.getElementById(id);
    if (!field) return;
    field.value = value;
    if (field === document.activeElement) field.setSelectionRange(from, to);
  }

  function alarms() {
    return $now.find("[data-alarm] strong").get().map((el) => el.textContent);
  }

  /* The charts */
  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function columns(which) {
    if (which === "levels") {
      return { data: [figures.times, ...figures.pools.map((pool) => pool.available)],
        names: figures.pools.map((pool) => pool.pool) };
    }
    return { data: [figures.times, figures.images, figures.claims], names: ["new", "claims"] };
  }

  function axis(options) {
    return Object.assign({ stroke: colour("--ink-soft"), font: "13px Gabarito, sans-serif", grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 } }, options);
  }

  function clock(plot, splits) {
    return splits.map((seconds) => new Date(seconds * 1e3).toISOString().slice(11, 16));
  }

  /* New avatars come a batch at a time: bars, behind the claims' line. */
  function style(name, index, which) {
    const ink = colour("--line-" + (index % 4 + 1));
    if (which === "rates" && name === "new") {
      return { label: name, stroke: ink, fill: ink + "55", width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 14] }) };
    }
    return { label: name, stroke: ink, width: 2, points: { show: false }, dash: index > 3 ? [6, 4] : undefined };
  }

  function draw(figure) {
    const which = figure.dataset.chart, { data, names } = columns(which);
    const place = figure.querySelector(".plot"), known = plots.get(which);
    figure.hidden = false;
    if (known && known.names.join() === names.join()) {
      known.plot.setData(data);
      return newest(known.plot);
    }
    if (known) known.plot.destroy();
    const options = {
      width: place.clientWidth, height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      cursor: { y: false },
      hooks: { ready: [newest], setCursor: [newest] },
      scales: { y: { range: (plot, low, high) => [0, Math.max(1, high * 1.08)] } },
      axes: [axis({ values: clock, space: 60 }), axis({ size: 52 })],
      series: [{ label: "UTC", value: "{HH}:{mm}" }].concat(names.map((name, index) => style(name, index, which))),
    };
    plots.set(which, { plot: new uPlot(options, data, place), names });
  }

  /* Where nobody points at a moment, the legend tells the latest figures. */
  function newest(plot) {
    if (plot.cursor.idx == null) plot.setLegend({ idx: plot.data[0].length - 1 });
  }

  function drawAll() {
    if (figures && figures.times.length > 1) $charts.find("[data-chart]").each((_, el) => draw(el));
  }

  function look() {
    $.ajax({ url: $charts.data("history"), dataType: "json", timeout: 15000 }).then((answer) => {
      figures = answer;
      drawAll();
    }).always(() => setTimeout(look, HISTORY));
  }

  function fit() {
    plots.forEach(({ plot }) => {
      const width = plot.root.parentNode.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    });
  }

  dark.addEventListener("change", () => {
    plots.forEach(({ plot }) => plot.destroy());
    plots.clear();
    drawAll();
  });
  new ResizeObserver(fit).observe($charts[0]);
  look();
  later();
});
