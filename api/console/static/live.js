// @ts-check
/**
 * What changes by itself. The tabs of a browser share one event stream: the tab that holds a lock reads it and hands
 * each event to the others. Only tabs that are looked at want the lock, so that a browser nobody looks at has none.
 * Where the stream cannot be read, htmx asks for the parts again every ten seconds, as `territoire:refresh` says.
 */

const POLL_MS = 10_000;
// The server says something every five seconds.
const SILENT_MS = 15_000;
const bar = /** @type {HTMLElement} */ (document.getElementById("live"));
const state = /** @type {HTMLElement} */ (document.getElementById("live-state"));
const pause = /** @type {HTMLButtonElement} */ (document.getElementById("live-pause"));
const stream = bar.dataset.stream ?? "";
const name = `territoire:${stream}`;
const channel = new BroadcastChannel(name);
/** The last event of each name, for a tab that comes later. @type {Map<string, string>} */
const last = new Map();
/** What does not answer, and since when. @type {Map<string, string>} */
const away = new Map();

let heardAt = Date.now();
let polledAt = Date.now();
let retryMs = 2_000;
let paused = false;
let over = false;
/** Whether this tab reads the stream. */
let leading = false;
let isLive = true;
/** @type {AbortController | null} */
let wanting = null;

/** @param {string} type @param {any} [detail] */
function announce(type, detail) {
  document.body.dispatchEvent(new CustomEvent(type, { detail }));
}

/** Ask for the parts by themselves; not more often than before there were streams. */
function poll() {
  if (paused || over || document.hidden || Date.now() - polledAt < POLL_MS) return;
  polledAt = Date.now();
  announce("htmx" in window ? "territoire:refresh" : "territoire:stale");
}

/** @param {string} part @param {string} text */
function put(part, text) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`[data-live="${part}"]`))) {
    if (element.hasAttribute("aria-live")) {
      if (element.textContent !== text) element.textContent = text;
      continue;
    }
    // Who is on a link of it stays there.
    const on = element.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
    element.innerHTML = text;
    if (on) /** @type {HTMLElement | null} */ (element.querySelector(`a[href="${CSS.escape(on)}"]`))?.focus({ preventScroll: true });
  }
}

/** @param {string} event @param {string} text */
function take(event, text) {
  heardAt = Date.now();
  if (paused || over) return;
  if (event === "beat") return;
  if (event === "open") {
    away.clear();
  } else if (event === "ended") {
    end();
  } else if (event === "away") {
    const [what, since] = text.split(" ");
    away.set(what, since ?? "");
    announce("territoire:stale", since);
  } else if (event === "back") {
    away.delete(text);
    if (!away.size) announce("territoire:fresh");
  } else if (event === "at") {
    document.body.dataset.at = text;
    show();
    if (!away.size) announce("territoire:fresh");
  } else {
    put(event, text);
    announce("territoire:live", { event, text });
  }
}

/** In this tab and in the others. @param {string} event @param {string} text */
function spread(event, text) {
  if (event === "back") last.delete(`away ${text}`);
  else if (event !== "beat" && event !== "open") last.set(event === "away" ? `away ${text.split(" ")[0]}` : event, text);
  if (navigator.locks) channel.postMessage({ event, text });
  take(event, text);
}

channel.addEventListener("message", ({ data }) => {
  if (data.ask) {
    if (leading) for (const [key, text] of last) channel.postMessage({ event: key.split(" ")[0], text });
  } else {
    take(data.event, data.text);
  }
});

/** Read one stream to its end. @param {ReadableStream<Uint8Array>} body @param {AbortSignal} signal */
async function read(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  signal.addEventListener("abort", () => reader.cancel().catch(() => {}));
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done || signal.aborted) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop() ?? "";
    for (const one of events) {
      let event = "";
      const lines = [];
      for (const line of one.split("\n")) {
        if (line.startsWith("event: ")) event = line.slice(7);
        else if (line.startsWith("data: ")) lines.push(line.slice(6));
        else if (line.startsWith("retry: ")) retryMs = Number(line.slice(7)) || retryMs;
      }
      if (event) spread(event, lines.join("\n"));
    }
  }
}

/** Keep a stream open until the signal says that this tab is not the one. @param {AbortSignal} signal */
async function follow(signal) {
  leading = true;
  while (!signal.aborted && !over) {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    signal.addEventListener("abort", stop);
    const startedAt = Date.now();
    const watching = setInterval(() => Date.now() - Math.max(heardAt, startedAt) > SILENT_MS && stop(), 1_000);
    try {
      const answer = await fetch(stream, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: attempt.signal });
      if (answer.status === 401 || answer.status === 403 || answer.status === 204) spread("ended", "");
      else if (!answer.ok || !answer.body) throw new Error(String(answer.status));
      else {
        last.clear();
        spread("open", "");
        await read(answer.body, attempt.signal);
      }
    } catch {
      if (!signal.aborted) poll();
    } finally {
      clearInterval(watching);
      signal.removeEventListener("abort", stop);
    }
    await new Promise((resolve) => {
      setTimeout(resolve, signal.aborted ? 0 : retryMs * (0.5 + Math.random()));
      signal.addEventListener("abort", resolve);
    });
  }
  leading = false;
}

/** Hold the stream, or wait for whoever holds it, while this tab is looked at. */
function want() {
  const wanted = !paused && !over && !document.hidden;
  if (!wanted) {
    wanting?.abort();
    wanting = null;
  } else if (!wanting) {
    wanting = new AbortController();
    const { signal } = wanting;
    const held = navigator.locks ? navigator.locks.request(name, { signal }, () => follow(signal)) : follow(signal);
    held.catch(() => {});
    channel.postMessage({ ask: true });
  }
}

function show() {
  const at = document.body.dataset.at ?? document.querySelector("[data-at]")?.getAttribute("data-at");
  const hour = (at ? new Date(at) : new Date()).toLocaleTimeString(document.documentElement.lang);
  pause.hidden = state.hidden = over;
  pause.textContent = (paused ? pause.dataset.resume : pause.dataset.pause) ?? "";
  const { textPaused, textLive, textPolled } = state.dataset;
  state.textContent = ((paused ? textPaused : isLive ? textLive : textPolled) ?? "").replace("{heure}", hour);
  document.documentElement.toggleAttribute("data-paused", paused || over);
}

/** The session opens nothing more: nothing is asked again, for what is asked in vain counts against the address. */
function end() {
  over = true;
  /** @type {HTMLElement} */ (document.getElementById("ended")).hidden = false;
  show();
  want();
}

/** Kept in the browser, for all its tabs; where it keeps nothing, in this tab. */
function kept() {
  try {
    return localStorage.getItem("territoire:paused") === "1";
  } catch {
    return paused;
  }
}

/** @param {boolean} wanted */
function setPaused(wanted) {
  if (paused === wanted) return;
  paused = wanted;
  show();
  want();
  if (!paused) {
    polledAt = 0;
    poll();
  }
}

pause.addEventListener("click", () => {
  const wanted = !paused;
  try {
    localStorage.setItem("territoire:paused", wanted ? "1" : "");
  } catch {
    // It holds for this tab.
  }
  setPaused(wanted);
});
addEventListener("storage", ({ key }) => key === "territoire:paused" && setPaused(kept()));
document.addEventListener("visibilitychange", want);
document.body.addEventListener("htmx:response:error", (event) => {
  const { ctx } = /** @type {CustomEvent} */ (event).detail;
  if (ctx?.response?.status === 401) spread("ended", "");
});
setInterval(() => {
  const hears = Date.now() - heardAt <= SILENT_MS;
  if (hears !== isLive) {
    isLive = hears;
    show();
  }
  if (!hears) poll();
}, 1_000);
paused = kept();
show();
want();
