// @ts-check
/** What every page does: fills in a link's token, and says when its figures are old. */

const token = /** @type {HTMLInputElement | null} */ (document.getElementById("token"));
if (token && !token.value && location.hash.length > 1) {
  token.value = decodeURIComponent(location.hash.slice(1));
  // Nobody who looks over a shoulder, and no history, needs it any more.
  history.replaceState(null, "", location.pathname);
}

const stale = document.getElementById("stale");

/** The instant of the figures that the page shows. */
function shownSince() {
  const at = document.querySelector("[data-at]")?.getAttribute("data-at");
  return at ? new Date(at) : new Date();
}

/** @param {boolean} isStale */
function showStale(isStale) {
  if (!stale) return;
  const text = /** @type {HTMLElement | null} */ (stale.querySelector("[data-text]"));
  if (text && isStale && stale.hidden) {
    const hour = shownSince().toLocaleTimeString(document.documentElement.lang);
    text.textContent = (text.dataset.text ?? "").replace("{heure}", hour);
  }
  stale.hidden = !isStale;
}

document.body.addEventListener("htmx:error", () => showStale(true));
document.body.addEventListener("htmx:response:error", () => showStale(true));
document.body.addEventListener("htmx:after:swap", () => showStale(false));
// A tab that was hidden shows what is true now, not what was when it was left.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.body.dispatchEvent(new Event("territoire:refresh"));
});
