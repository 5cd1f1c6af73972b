// What a script adds to the pages: charts, made of the tables behind them, and filters that answer at once. Everything
// can be read and done without it. Nothing is made of text as markup here: a name that holds markup stays a name.
"use strict";

const root = document.documentElement;
root.classList.add("scripted");

const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const still = matchMedia("(prefers-reduced-motion: reduce)");
const darker = matchMedia("(prefers-color-scheme: dark)");

// How the numbers of a column are written. The server writes the table the same way: numbers.py.
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const FORMATS = {
  number: (value) => whole.format(value),
  percent: (value) => `${whole.format(100 * value)} %`,
  seconds: (value) => (value < 1 ? `${whole.format(1000 * value)} ms` : `${whole.format(value)} s`),
};
const SHORT = { ...FORMATS, number: (value) => compact.format(value) };

// A figure's table as [columns, rows]: the first column are the names on the axis.
function read(figure) {
  const table = figure.querySelector("table");
  const columns = [...table.tHead.rows[0].cells].map((cell) => ({
    name: cell.textContent,
    format: cell.dataset.format || "number",
    before: "before" in cell.dataset,
  }));
  const rows = [...table.tBodies[0].rows].map((row) =>
    [...row.cells].map((cell, n) => {
      if (n === 0) return cell.dataset.value || cell.textContent;
      return cell.dataset.value === undefined || cell.dataset.value === "" ? null : Number(cell.dataset.value);
    }),
  );
  return [columns, rows];
}

// Where the drawing begins: below the legend, whose lines are as many as its names need, and the names of releases.
function above(figure) {
  const [columns] = read(figure);
  const width = figure.querySelector(".chart").clientWidth - 12;
  let [lines, used] = [1, 0];
  for (const { name } of columns.slice(1)) {
    const needed = 14 + 5 + 7.5 * name.length + 16; // its mark, a gap, its letters, the gap to the next
    if (used && used + needed > width) [lines, used] = [lines + 1, 0];
    used += needed;
  }
  return (figure.dataset.releases.length > 2 ? 48 : 36) + 20 * (lines - 1);
}

function options(figure) {
  const [columns, rows] = read(figure);
  const stacked = figure.dataset.draw === "stacked";
  const bars = rows.length <= 14 || (stacked && rows.length <= 100); // a day is a column, as long as it is wide enough
  const dark = getComputedStyle(root).colorScheme === "dark";
  const muted = colour("--muted");
  const format = columns[1].format;
  const releases = JSON.parse(figure.dataset.releases || "[]").filter(([day]) => rows.some((row) => row[0] === day));
  let nth = 0;
  const series = columns.slice(1).map((column, n) => {
    const own = column.before ? colour("--series-8") : colour(`--series-${(nth++ % 8) + 1}`);
    return {
      name: column.name,
      type: bars ? "bar" : "line",
      stack: stacked ? "all" : undefined,
      data: rows.map((row) => row[n + 1]),
      color: own,
      showSymbol: false,
      symbolSize: 7,
      barMaxWidth: 44,
      barCategoryGap: "18%",
      lineStyle: { width: column.before ? 1.5 : 2.2, type: column.before ? [4, 4] : "solid" },
      areaStyle: stacked ? { opacity: 0.85 } : n === 0 && !bars ? { opacity: 0.09 } : undefined,
      emphasis: { disabled: true },
      // Release markers belong to the panel, so the first series carries them.
      markLine: n === 0 && releases.length ? {
        silent: true, symbol: "none", animation: false,
        lineStyle: { color: muted, type: "dotted", width: 1 },
        label: { color: muted, fontSize: 11, formatter: (mark) => mark.name, rotate: 0, distance: 3 },
        data: releases.map(([day, version]) => ({ name: version, xAxis: day })),
      } : undefined,
    };
  });
  return {
    animation: !still.matches,
    animationDuration: 250,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
    aria: { enabled: true, label: { enabled: false }, decal: { show: stacked, decals: patterns(dark) } },
    grid: { left: 4, right: 12, top: above(figure), bottom: 2, outerBoundsMode: "same" },
    legend: { show: series.length > 1, top: 0, left: 0, right: 12, type: "plain", icon: "roundRect", itemWidth: 14, itemHeight: 4,
      itemGap: 16, textStyle: { color: colour("--text"), fontSize: 12 } },
    tooltip: {
      trigger: "axis",
      renderMode: "richText", // the other one writes style attributes, which our policy forbids
      confine: true,
      backgroundColor: colour("--surface"), borderColor: colour("--line"),
      textStyle: { color: colour("--text"), fontSize: 12 },
      valueFormatter: (value) => (value === null || value === undefined ? "–" : FORMATS[format](value)),
    },
    xAxis: {
      type: "category", data: rows.map((row) => row[0]), boundaryGap: bars,
      axisLine: { lineStyle: { color: colour("--line") } }, axisTick: { show: false },
      axisLabel: { color: muted, hideOverlap: true, fontSize: 11, formatter: day },
    },
    yAxis: {
      type: "value", min: 0, splitNumber: 4, minInterval: format === "number" ? 1 : 0,
      splitLine: { lineStyle: { color: colour("--line") } },
      axisLabel: { color: muted, fontSize: 11, formatter: SHORT[format] },
    },
    series,
  };
}

// Patterns beside the colours, for those who can't tell these apart: plain, stripes, dots, and so on.
function patterns(dark) {
  const ink = { color: dark ? "rgb(0 0 0 / 32%)" : "rgb(255 255 255 / 42%)" };
  const stripes = (rotation) => ({ ...ink, symbol: "rect", dashArrayX: [1, 0], dashArrayY: [1.5, 5], rotation });
  const dots = (size) => ({ ...ink, symbol: "circle", symbolSize: size, dashArrayX: [[5, 5], [0, 5, 5, 0]], dashArrayY: [5, 0] });
  return [{ symbol: "none", color: "transparent" }, stripes(Math.PI / 4), dots(0.6), stripes(-Math.PI / 4), stripes(0),
    stripes(Math.PI / 2), dots(0.9), stripes(Math.PI / 8)];
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
function day(text) {
  const parts = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text);
  return parts ? `${Number(parts[3])} ${MONTHS[Number(parts[2]) - 1]}` : text;
}

const drawn = [];
function draw(figure) {
  const place = figure.querySelector(".chart");
  const [, rows] = read(figure);
  if (!place || !rows.length || typeof echarts === "undefined") return;
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", figure.dataset.label);
  const chart = echarts.init(place, null, { renderer: "svg" });
  chart.setOption(options(figure));
  drawn.push([chart, figure]);
  new ResizeObserver(() => {
    chart.resize();
    chart.setOption({ grid: { top: above(figure) } });
  }).observe(place);
}

function redraw() {
  for (const [chart, figure] of drawn) chart.setOption(options(figure), { notMerge: true });
}

document.querySelectorAll("figure[data-draw]").forEach(draw);
darker.addEventListener("change", redraw);

// A box is a stop of the Tab key only while there is something to scroll in it.
const boxes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", "Table"]]) {
      if (scrolls) target.setAttribute(name, value);
      else target.removeAttribute(name);
    }
  }
});
document.querySelectorAll(".scroll").forEach((box) => boxes.observe(box));

// The theme: said by a cookie, which the server reads, so that no page flashes in the other one.
document.querySelectorAll(".theme").forEach((form) => {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const theme = event.submitter.value;
    fetch("/theme", { method: "POST", body: new URLSearchParams({ theme, next: "/" }), redirect: "manual" });
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    document.querySelectorAll(".theme button").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.value === theme));
    });
    redraw();
  });
});

// A choice applies when it is made. The button beside it is for browsers without scripts.
document.querySelectorAll("form[data-at-once] select").forEach((select) => {
  select.addEventListener("change", () => select.form.requestSubmit());
});

document.querySelectorAll("[data-copies]").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const line = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(line.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(line); // no clipboard without https: it is marked, for Ctrl-C
      button.textContent = "Marked: press Ctrl-C";
    }
  });
});

// Escape closes what was opened over the page.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  document.querySelectorAll("details.range[open], .top details[open]").forEach((details) => {
    details.open = false;
    details.querySelector("summary").focus();
  });
});
