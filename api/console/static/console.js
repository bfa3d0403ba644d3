// @ts-check
/** What every page does: fills in a link's token, and says when its figures are old. */

const token = /** @type {HTMLInputElement | null} */ (document.getElementById("token"));
if (token && !token.value && location.hash.length > 1) {
  token.value = decodeURIComponent(location.hash.slice(1));
  // Nobody who looks over a shoulder, and no history, needs it any more.
  history.replaceState(null, "", location.pathname);
}

// An address says what was chosen, and nothing else.
for (const form of document.querySelectorAll("form.filters")) {
  form.addEventListener("formdata", (event) => {
    const data = /** @type {FormDataEvent} */ (event).formData;
    for (const [name, value] of [...data]) if (value === "") data.delete(name);
    if (!data.has("autour")) data.delete("rayon");
  });
}

// Where who looks is, in a field as they would type it.
for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-here]"))) {
  const field = /** @type {HTMLInputElement | null} */ (document.getElementById(button.dataset.here ?? ""));
  if (!navigator.geolocation || !field) continue;
  button.hidden = false;
  button.addEventListener("click", () =>
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        field.value = `${coords.latitude.toFixed(5)}, ${coords.longitude.toFixed(5)}`;
        field.form?.requestSubmit();
      },
      () => {
        const wrong = document.createElement("p");
        wrong.className = "error";
        wrong.setAttribute("role", "alert");
        wrong.textContent = button.dataset.failed ?? "";
        button.replaceWith(wrong);
      },
    ),
  );
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
