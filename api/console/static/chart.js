// @ts-check
/** A curve, drawn from the table of the page: what is seen and what is read are the same values. */

/* global uPlot */

const element = /** @type {HTMLElement} */ (document.getElementById("chart"));
const table = /** @type {HTMLTableElement} */ (document.getElementById(element.dataset.table ?? ""));
const style = getComputedStyle(document.documentElement);
const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
const lang = document.documentElement.lang;
const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 2 });
const rows = [...table.tBodies[0].rows];

/** @param {number} column */
function values(column) {
  return rows.map((row) => {
    const text = (row.cells[column]?.textContent ?? "").replace(/[\s\u202f\u00a0]/g, "");
    // French has a comma where English has a point.
    const plain = lang === "fr" ? text.replace(",", ".") : text.replace(/,/g, "");
    return text === "" || text === "—" ? null : Number(plain);
  });
}

// Each column that is a series says so in its head; what is of before is drawn with the colour of edges, dashed.
const columns = [...table.tHead.rows[0].cells].map((head, place) => ({ head, place })).filter((one) => one.head.dataset.series);
const units = [...new Set(columns.map((one) => one.head.dataset.unit ?? ""))];
const colours = ["--accent", "--major", "--info", "--good"].map(colour);
let drawn = 0;
const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
const day = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short" });
const hour = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit" });
const HOUR_S = 3_600;
const both = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });

/** @param {any} _u @param {number[]} splits @param {number} _axis @param {number} _space @param {number} incr */
function instants(_u, splits, _axis, _space, incr) {
  return splits.map((at) => (incr >= 86_400 ? day : hour).format(at * 1000));
}

const chart = new uPlot(
  {
    width: element.clientWidth - 16,
    height: element.clientHeight - 56,
    // One point alone would be in the middle of years.
    scales: { x: { range: (/** @type {any} */ _u, /** @type {number} */ from, /** @type {number} */ to) => (rows.length > 1 ? [from, to] : [from - HOUR_S, from + HOUR_S]) } },
    series: [
      { label: element.dataset.when, value: (/** @type {any} */ _u, /** @type {number} */ at) => (at == null ? "" : both.format(at * 1000)) },
      ...columns.map(({ head }) => {
        const isFormer = head.dataset.former !== undefined;
        const unit = head.dataset.unit ?? "";
        return {
          label: head.dataset.series,
          scale: unit || "y",
          stroke: isFormer ? colour("--edge") : colours[drawn++ % colours.length],
          width: 2,
          dash: isFormer ? [6, 4] : undefined,
          points: { show: rows.length < 60 },
          value: (/** @type {any} */ _u, /** @type {number} */ value) => (value == null ? "—" : `${number.format(value)} ${unit}`),
        };
      }),
    ],
    axes: [
      { ...axis, values: instants },
      // A unit on each side; of a third one the values are in the legend and in the table.
      ...units.slice(0, 2).map((unit, place) => ({
        ...axis,
        scale: unit || "y",
        side: place ? 1 : 3,
        grid: place ? { show: false } : axis.grid,
        size: 64,
        label: units.length > 1 ? unit : undefined,
        values: (/** @type {any} */ _u, /** @type {number[]} */ splits) => splits.map((one) => number.format(one)),
      })),
    ],
  },
  [rows.map((row) => Number(row.dataset.at)), ...columns.map((one) => values(one.place))],
  element,
);
new ResizeObserver(() => chart.setSize({ width: element.clientWidth - 16, height: element.clientHeight - 56 })).observe(element);
