// @ts-check
/** What every page does: fills in a link's token, and says when its figures are old. */

const token = /** @type {HTMLInputElement | null} */ (document.getElementById("token"));
if (token && !token.value && location.hash.length > 1) {
  token.value = decodeURIComponent(location.hash.slice(1));
  // Nobody who looks over a shoulder, and no history, needs it any more.
  history.replaceState(null, "", location.pathname);
}

const stale = document.getElementById("stale");

/** The instant of the figures that the page shows: the last of those that its parts bear. */
function shownSince() {
  const instants = [...document.querySelectorAll("[data-at]")].map((one) => Date.parse(one.getAttribute("data-at") ?? ""));
  return instants.length ? new Date(Math.max(...instants)) : new Date();
}

/** @param {boolean} isStale @param {string} [since] */
function showStale(isStale, since) {
  if (!stale) return;
  const text = /** @type {HTMLElement | null} */ (stale.querySelector("[data-text]"));
  if (text && isStale && stale.hidden) {
    const hour = (since ? new Date(since) : shownSince()).toLocaleTimeString(document.documentElement.lang);
    text.textContent = (text.dataset.text ?? "").replace("{heure}", hour);
  }
  stale.hidden = !isStale;
}

document.body.addEventListener("htmx:error", () => showStale(true));
document.body.addEventListener("htmx:response:error", () => showStale(true));
document.body.addEventListener("htmx:after:swap", () => showStale(false));
document.body.addEventListener("territoire:stale", (event) => showStale(true, /** @type {CustomEvent} */ (event).detail));
document.body.addEventListener("territoire:fresh", () => showStale(false));
