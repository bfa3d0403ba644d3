// @ts-check
/** Frames as they come: asked for again and again while the page is looked at and not paused. */

const SECONDS = 2;
const KEPT = 200;
const RETRY_MS = 5_000;
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

/** @param {string} name */
function plain(name) {
  return /** @type {HTMLInputElement} */ (document.getElementById(name)).defaultValue.toLowerCase().replace(/[^0-9a-f]/g, "");
}

const query = new URLSearchParams({ seconds: String(SECONDS) });
if (plain("capteur")) query.set("dev_eui", plain("capteur"));
if (plain("passerelle")) query.set("gateway_id", plain("passerelle"));

/** @param {any} frame */
function row(frame) {
  const line = document.createElement("tr");
  const first = frame.receptions[0];
  const more = frame.receptions.length > 1 ? ` +${frame.receptions.length - 1}` : "";
  const cells = [
    clock.format(new Date(frame.at)),
    kinds[frame.kind] ?? frame.kind,
    frame.hidden ? (table.dataset.hidden ?? "") : (frame.dev_eui ?? frame.dev_addr ?? "—"),
    frame.f_cnt ?? "—",
    frame.f_port ?? "—",
    frame.octets,
    frame.spreading_factor,
    number.format(frame.frequency / 1e6),
    first ? first.gateway_id + more : "",
    first ? number.format(first.rssi) : "",
    first ? number.format(first.snr) : "",
    frame.outcome,
  ];
  cells.forEach((text, i) => {
    const cell = line.insertCell();
    cell.textContent = String(text);
    if ([3, 4, 5, 6, 7, 9, 10].includes(i)) cell.className = "number";
    if (i === 0) cell.className = "once";
  });
  return line;
}

async function watch() {
  for (;;) {
    if (paused || document.hidden) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      continue;
    }
    try {
      const answer = await fetch(`/v1/live-frames?${query}`);
      if (answer.status === 401) location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const { items } = await answer.json();
      state.textContent = (paused ? state.dataset.paused : state.dataset.watching) ?? "";
      if (paused) continue;
      if (items.length) document.getElementById("frames-empty")?.remove();
      for (const frame of items) body.prepend(row(frame));
      while (body.rows.length > KEPT) body.deleteRow(-1);
    } catch {
      state.textContent = state.dataset.lost ?? "";
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

pause.hidden = save.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = (paused ? pause.dataset.resume : pause.dataset.pause) ?? "";
  pause.setAttribute("aria-pressed", String(paused));
  state.textContent = (paused ? state.dataset.paused : state.dataset.watching) ?? "";
});
save.addEventListener("click", () => {
  const lines = [...table.rows].map((line) => [...line.cells].map((cell) => `"${(cell.textContent ?? "").replace(/"/g, '""')}"`).join(";"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n")], { type: "text/csv" }));
  link.download = "trames.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
state.textContent = state.dataset.watching ?? "";
await watch();
