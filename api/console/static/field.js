// @ts-check
/** In the field: a code is scanned, a photo made smaller, the telephone's position taken. Each where the browser can. */

const WIDEST = 1600;
const QUALITY = 0.8;
const EVERY_MS = 200;
const PATIENCE_MS = 15_000;

/** @param {Element} element @param {string} name */
function said(element, name) {
  return /** @type {HTMLElement} */ (element).dataset[name] ?? "";
}

/** @param {Element} inside */
function send(inside) {
  /** @type {HTMLFormElement | null} */ (inside.closest("form"))?.requestSubmit();
}

/** Shows what the camera sees until it holds a code; null: somebody closed it. @param {string} close */
async function scan(close) {
  const camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  const dialog = document.createElement("dialog");
  const video = document.createElement("video");
  const button = document.createElement("button");
  dialog.className = "scan";
  video.playsInline = true;
  video.muted = true;
  video.srcObject = camera;
  button.textContent = close;
  button.type = "button";
  button.addEventListener("click", () => dialog.close());
  dialog.append(video, button);
  document.body.append(dialog);
  dialog.showModal();
  try {
    await video.play();
    const detector = new /** @type {any} */ (globalThis).BarcodeDetector({ formats: ["qr_code", "data_matrix", "code_128"] });
    while (dialog.open) {
      const [found] = await detector.detect(video);
      if (found) return String(found.rawValue);
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
    return null;
  } finally {
    for (const track of camera.getTracks()) track.stop();
    dialog.remove();
  }
}

if ("BarcodeDetector" in globalThis && navigator.mediaDevices) {
  for (const place of document.querySelectorAll("[data-scan]")) {
    const input = place.querySelector("input");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "second";
    button.textContent = said(place, "scan");
    button.addEventListener("click", async () => {
      const code = await scan(said(place, "cancel")).catch(() => null);
      if (!code || !input) return;
      input.value = code;
      if ("send" in /** @type {HTMLElement} */ (place).dataset) send(place);
    });
    place.append(button);
  }
}

for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[data-smaller]"))) {
  input.accept = "image/*";
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    if (!file) return;
    try {
      const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
      const scale = Math.min(1, WIDEST / Math.max(picture.width, picture.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.round(picture.width * scale);
      canvas.height = Math.round(picture.height * scale);
      canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
      const smaller = await new Promise((/** @type {(blob: Blob | null) => void} */ resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
      if (!smaller) return;
      const carrier = new DataTransfer();
      carrier.items.add(new File([smaller], "photo.jpg", { type: "image/jpeg" }));
      input.files = carrier.files;
    } catch {
      // The server says what it takes.
    }
  });
}

if (navigator.geolocation) {
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-locate]"))) {
    const form = button.closest("form");
    const [latitude, longitude] = said(button, "locate").split(" ").map((name) => /** @type {HTMLInputElement | null} */ (form?.elements.namedItem(name)));
    button.hidden = false;
    button.addEventListener("click", () => {
      button.disabled = true;
      navigator.geolocation.getCurrentPosition(
        ({ coords }) => {
          button.disabled = false;
          if (latitude) latitude.value = coords.latitude.toFixed(6);
          if (longitude) longitude.value = coords.longitude.toFixed(6);
          if ("send" in button.dataset) send(button);
        },
        () => {
          const wrong = document.createElement("p");
          wrong.className = "error";
          wrong.setAttribute("role", "alert");
          wrong.textContent = said(button, "wrong");
          button.replaceWith(wrong);
        },
        { enableHighAccuracy: true, timeout: PATIENCE_MS },
      );
    });
  }
}
