// @ts-check
/** Curves, each drawn from its table of the page: what is seen and what is read are the same values. */

/* global uPlot */

const style = getComputedStyle(document.documentElement);
const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
const lang = document.documentElement.lang;
const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 2 });
const colours = ["--accent", "--major", "--info", "--good"].map(colour);
const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
const day = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short" });
const hour = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit" });
const HOUR_S = 3_600;
const both = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
const month = new Intl.DateTimeFormat(lang, { month: "short", year: "numeric" });

/** @param {any} _u @param {number[]} splits @param {number} _axis @param {number} _space @param {number} incr */
function instants(_u, splits, _axis, _space, incr) {
  return splits.map((at) => (incr >= 86_400 ? day : hour).format(at * 1000));
}

/** Names of the points themselves: a month has no other place. @param {any} _u @param {number[]} splits */
function months(_u, splits) {
  return splits.map((at) => month.format(at * 1000));
}

/** @param {HTMLTableRowElement[]} rows @param {number} column */
function values(rows, column) {
  return rows.map((row) => {
    const text = (row.cells[column]?.textContent ?? "").replace(/[\s\u202f\u00a0]/g, "");
    // French has a comma where English has a point.
    const plain = lang === "fr" ? text.replace(",", ".") : text.replace(/,/g, "");
    return text === "" || text === "—" ? null : Number(plain);
  });
}

/** @param {HTMLElement} element */
function draw(element) {
  const table = /** @type {HTMLTableElement} */ (document.getElementById(element.dataset.table ?? ""));
  const rows = [...table.tBodies[0].rows];
  // Each column that is a series says so in its head; what is of before is drawn with the colour of edges, dashed.
  const columns = [...table.tHead.rows[0].cells].map((head, place) => ({ head, place })).filter((one) => one.head.dataset.series);
  const units = [...new Set(columns.map((one) => one.head.dataset.unit ?? ""))];
  const isByMonth = element.dataset.months !== undefined;
  const starts = rows.map((row) => Number(row.dataset.at));
  // As many as there is room for, between two axes.
  const shown = () => starts.filter((_, place) => place % Math.ceil((starts.length * 96) / Math.max(element.clientWidth - 144, 96)) === 0);
  let drawn = 0;

  const chart = new uPlot(
    {
      width: element.clientWidth - 16,
      height: element.clientHeight - 56,
      ...(isByMonth ? { padding: [null, 32, null, null] } : {}),
      // One point alone would be in the middle of years.
      scales: { x: { range: (/** @type {any} */ _u, /** @type {number} */ from, /** @type {number} */ to) => (rows.length > 1 ? [from, to] : [from - HOUR_S, from + HOUR_S]) } },
      series: [
        { label: element.dataset.when, value: (/** @type {any} */ _u, /** @type {number} */ at) => (at == null ? "" : (isByMonth ? month : both).format(at * 1000)) },
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
        { ...axis, values: isByMonth ? months : instants, ...(isByMonth ? { splits: shown } : {}) },
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
    [starts, ...columns.map((one) => values(rows, one.place))],
    element,
  );
  // The legend takes as many lines as it needs.
  const legend = () => Math.max(element.querySelector(".u-legend")?.getBoundingClientRect().height ?? 0, 40);
  const fit = () => chart.setSize({ width: element.clientWidth - 16, height: element.clientHeight - 16 - legend() });
  new ResizeObserver(fit).observe(element);
}

document.querySelectorAll(".chart[data-table]").forEach((one) => draw(/** @type {HTMLElement} */ (one)));
