// @ts-check
/** Frames as they come, by a stream of this page's own while it is looked at and not paused. */

const KEPT = 200;
// The column that opens.
const DECISION = 1;
const RETRY_MS = 5_000;
// The server says something every five seconds.
const SILENT_MS = 15_000;
const table = /** @type {HTMLTableElement} */ (document.getElementById("frames"));
const body = table.tBodies[0];
const state = /** @type {HTMLElement} */ (document.getElementById("frames-state"));
const pause = /** @type {HTMLButtonElement} */ (document.getElementById("pause"));
const save = /** @type {HTMLButtonElement} */ (document.getElementById("export"));
const kinds = JSON.parse(table.dataset.kinds ?? "{}");
const lang = document.documentElement.lang;
const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 3 });
let paused = false;

/** @type {Record<string, [string, string]>} */
const outcomes = JSON.parse(table.dataset.outcomes ?? "{}");

/** @param {string} name @param {string} [text] */
function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** What was decided, and behind it the frame field by field. @param {any} frame */
function decision(frame) {
  const [what, advice] = outcomes[frame.outcome] ?? [frame.outcome, ""];
  const details = document.createElement("details");
  details.className = "frame";
  details.append(element("summary", what));
  if (advice) details.append(element("p", advice));
  const fields = document.createElement("dl");
  fields.className = "facts";
  for (const { name, value } of frame.lines) {
    const held = document.createElement("dd");
    held.append(element("code", value));
    fields.append(element("dt", name), held);
  }
  details.append(frame.lines.length ? fields : element("p", table.dataset.nothing));
  if (frame.phy_payload) {
    const air = element("p", `${table.dataset.air} `);
    air.className = "hint";
    air.append(element("code", frame.phy_payload));
    details.append(air);
  }
  return details;
}

/** @param {any} frame */
function row(frame) {
  const line = document.createElement("tr");
  const first = frame.receptions[0];
  const more = frame.receptions.length > 1 ? ` +${frame.receptions.length - 1}` : "";
  const cells = [
    clock.format(new Date(frame.at)),
    "",
    kinds[frame.kind] ?? frame.kind,
    frame.hidden ? `${table.dataset.hidden} ${frame.dev_addr ?? ""}` : (frame.dev_eui ?? frame.dev_addr ?? "—"),
    frame.f_cnt ?? "—",
    frame.f_port ?? "—",
    frame.octets,
    frame.spreading_factor,
    number.format(frame.frequency / 1e6),
    first ? first.gateway_id + more : "",
    first ? number.format(first.rssi) : "",
    first ? number.format(first.snr) : "",
  ];
  cells.forEach((text, i) => {
    const cell = line.insertCell();
    cell.textContent = String(text);
    if ([4, 5, 6, 7, 8, 10, 11].includes(i)) cell.className = "number";
    if (i === 0) cell.className = "once";
    if (i === 3 && frame.dev_eui) {
      const link = document.createElement("a");
      link.href = `/capteurs/${frame.dev_eui}`;
      link.append(element("code", frame.dev_eui));
      cell.replaceChildren(link);
    }
  });
  line.cells[DECISION].append(decision(frame));
  return line;
}

/** @type {EventSource | null} */
let source = null;
let heardAt = 0;
let isLost = false;
/** As many follow frames already as may: the server looks again by itself. */
let isFull = false;

/** @param {MessageEvent<string>} event */
function take({ data }) {
  const { items } = JSON.parse(data);
  heardAt = Date.now();
  isLost = isFull = false;
  say();
  if (items.length) document.getElementById("frames-empty")?.remove();
  for (const frame of items) body.prepend(row(frame));
  while (body.rows.length > KEPT) body.deleteRow(-1);
}

function wait() {
  heardAt = Date.now();
  isLost = false;
  isFull = true;
  say();
}

function say() {
  const { paused: pausing, watching, lost, full } = state.dataset;
  state.textContent = (paused ? pausing : isLost ? lost : isFull ? full : watching) ?? "";
}

function leave() {
  source?.close();
  source = null;
}

/** The browser comes back by itself, unless it was refused: then it is known whether the session is over. */
async function fail() {
  isLost = true;
  say();
  if (source?.readyState !== EventSource.CLOSED) return;
  leave();
  const answer = await fetch("/v1/session").catch(() => null);
  if (answer?.status === 401) location.reload();
  else setTimeout(follow, RETRY_MS);
}

/** Hold a stream while the page is looked at and not paused. */
function follow() {
  if (paused || document.hidden) return leave();
  if (source) return;
  heardAt = Date.now();
  source = new EventSource(table.dataset.stream ?? "");
  source.addEventListener("frames", take);
  source.addEventListener("full", wait);
  source.addEventListener("beat", () => (heardAt = Date.now()));
  source.addEventListener("error", fail);
}

/** What of a cell is written to a file: of a frame what was decided, and its octets. @param {HTMLTableCellElement} cell */
function exported(cell) {
  const shown = (cell.querySelector("summary") ?? cell).textContent;
  const octets = cell.tagName === "TH" ? "PHYPayload" : cell.querySelector("details.frame > p.hint > code")?.textContent;
  const texts = cell.cellIndex === DECISION ? [shown, octets] : [shown];
  return texts.map((text) => `"${(text ?? "").replace(/"/g, '""')}"`).join(";");
}

pause.hidden = save.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = (paused ? pause.dataset.resume : pause.dataset.pause) ?? "";
  pause.setAttribute("aria-pressed", String(paused));
  follow();
  say();
});
save.addEventListener("click", () => {
  const lines = [...table.rows].map((line) => [...line.cells].map(exported).join(";"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n")], { type: "text/csv" }));
  link.download = "trames.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
document.addEventListener("visibilitychange", follow);
setInterval(() => {
  if (!source || Date.now() - heardAt <= SILENT_MS) return;
  isLost = true;
  leave();
  follow();
  say();
}, 1_000);
follow();
say();
