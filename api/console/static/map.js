// @ts-check
/** The map: assets by state, as shapes on a canvas, in clusters; refreshed while the page is looked at. */

/* global L */

// Beside the events that say that something has changed: one may have come while the page was being loaded.
const REFRESH_MS = 300_000;
const REDRAW_MS = 5_000;
const element = /** @type {HTMLElement} */ (document.getElementById("map"));
const notice = /** @type {HTMLElement} */ (document.getElementById("map-notice"));
const style = getComputedStyle(document.documentElement);
const COLOUR = Object.fromEntries(
  ["critical", "major", "warning", "info"].map((state) => [state, style.getPropertyValue(`--${state}`).trim()]),
);
COLOUR.ok = style.getPropertyValue("--good").trim();
COLOUR.command = style.getPropertyValue("--accent").trim();
COLOUR.silent = COLOUR.unknown = style.getPropertyValue("--soft").trim();
const GROUND = style.getPropertyValue("--sheet").trim();

/** The corners of a shape around 0, 0, one unit large; circles have none. */
const CORNERS = {
  critical: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  major: [[0, -1.1], [1.1, -0.25], [0.7, 1], [-0.7, 1], [-1.1, -0.25]],
  warning: [[0, -1.1], [1.1, 0.9], [-1.1, 0.9]],
  info: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
};

L.Canvas.include({
  /** @param {any} layer */
  _drawState(layer) {
    if (!this._drawing || layer._empty()) return;
    const { x, y } = layer._point;
    const { state, radius: r } = layer.options;
    const corners = CORNERS[/** @type {keyof typeof CORNERS} */ (state)];
    const ctx = this._ctx;
    ctx.beginPath();
    if (corners) {
      corners.forEach(([dx, dy], i) => (i ? ctx.lineTo(x + dx * r, y + dy * r) : ctx.moveTo(x + dx * r, y + dy * r)));
      ctx.closePath();
    } else {
      ctx.arc(x, y, r, 0, 2 * Math.PI);
    }
    const hollow = state === "unknown" || state === "silent";
    ctx.setLineDash(state === "unknown" ? [3, 2] : []);
    ctx.fillStyle = hollow ? GROUND : COLOUR[state];
    ctx.fill();
    ctx.lineWidth = 2;
    ctx.strokeStyle = hollow ? COLOUR[state] : GROUND;
    ctx.stroke();
    ctx.setLineDash([]);
    if (state === "silent") {
      ctx.beginPath();
      ctx.moveTo(x - r, y + r);
      ctx.lineTo(x + r, y - r);
      ctx.stroke();
    }
  },
});

const StateMarker = L.CircleMarker.extend({
  _updatePath() {
    this._renderer._drawState(this);
  },
});

/** @typedef {{ type: string, generated: boolean, features: any[] }} Outlines */

/** The commune of the filter, shown whole; empty: what the points are. */
const commune = element.dataset.commune ?? "";
let drawn = Boolean(element.dataset.layer);

/** @type {Promise<Outlines | null> | undefined} */
let asked;

function askOutlines() {
  asked ??= fetch("/v1/commune-outlines", { headers: { Accept: "application/geo+json, application/json" } })
    .then((answer) => (answer.ok ? answer.json() : null))
    .catch(() => null);
  return asked;
}

/** Names of communes where there is room for them. @param {any} layer @param {any} labels */
function label(layer, labels) {
  labels.clearLayers();
  layer.eachLayer((/** @type {any} */ one) => {
    const box = one.getBounds();
    const wide = map.latLngToLayerPoint(box.getNorthEast()).x - map.latLngToLayerPoint(box.getSouthWest()).x;
    const name = (one.feature.properties.labels ?? [one.feature.properties.name]).find((/** @type {string} */ text) => wide >= 7 * text.length);
    if (!name) return;
    const text = document.createElement("span");
    text.textContent = name;
    const icon = L.divIcon({ html: text, className: "commune", iconSize: [0, 0] });
    labels.addLayer(L.marker(box.getCenter(), { icon, interactive: false, keyboard: false, pane: "outlines" }));
  });
}

/** Where there is no background: what everybody recognises, below the markers. @param {string} notices */
async function drawOutlines(notices) {
  if (drawn) return;
  drawn = true;
  const outlines = await askOutlines();
  if (!outlines?.features.length) return;
  map.createPane("outlines").style.zIndex = "350";
  const layer = L.geoJSON(outlines, {
    pane: "outlines",
    renderer: L.canvas({ pane: "outlines" }),
    interactive: false,
    style: { color: style.getPropertyValue("--edge").trim(), weight: 1, fillColor: GROUND, fillOpacity: 0.6 },
  }).addTo(map);
  const labels = L.layerGroup().addTo(map);
  map.on("zoomend", () => label(layer, labels));
  if (fitted) label(layer, labels);
  element.dataset.outlines = String(outlines.features.length);
  notice.textContent = `${notices}${outlines.generated ? element.dataset.generated : ""}`;
  notice.hidden = false;
}

/** Communes by how the network covers them: a line and a fill for each verdict, and in words what was observed of how many. */
const VERDICTS = {
  reached: { color: COLOUR.ok, fillColor: COLOUR.ok },
  below: { color: COLOUR.warning, fillColor: COLOUR.warning, dashArray: "8 4" },
  unknown: { color: COLOUR.unknown, fillColor: GROUND, dashArray: "2 4" },
};

async function drawLayer() {
  const answer = await fetch(element.dataset.layer ?? "", { headers: { Accept: "application/geo+json" } });
  if (!answer.ok) return;
  const every = (await answer.json()).features;
  const placed = every.filter((/** @type {any} */ one) => one.geometry);
  for (const { properties } of placed) {
    const observed = properties.percent === null ? "?" : `${Math.round(properties.percent)} %`;
    properties.labels = [`${properties.name} ${observed} (n = ${properties.known})`, `${observed} (n = ${properties.known})`, observed];
  }
  element.dataset.communes = String(placed.length);
  if (!placed.length) {
    notice.textContent = element.dataset.noLayer ?? "";
    notice.hidden = !every.length;
    return;
  }
  map.createPane("outlines").style.zIndex = "350";
  const layer = L.geoJSON(placed, {
    pane: "outlines",
    renderer: L.canvas({ pane: "outlines" }),
    interactive: false,
    style: ({ properties }) => ({ weight: 2, fillOpacity: 0.2, ...VERDICTS[properties.percent === null ? "unknown" : properties.is_reached ? "reached" : "below"] }),
  }).addTo(map);
  const labels = L.layerGroup().addTo(map);
  map.on("zoomend", () => label(layer, labels));
  map.fitBounds(layer.getBounds(), { padding: [20, 20] });
  fitted = true;
  label(layer, labels);
}

/** A filter by commune shows the commune, also where there is nothing in it. */
async function showCommune() {
  const found = (await askOutlines())?.features.filter((one) => one.properties.name.localeCompare(commune, "fr", { sensitivity: "base" }) === 0) ?? [];
  if (found.length) map.fitBounds(L.geoJSON(found).getBounds(), { padding: [20, 20] });
}

/** What the filter's zone is: west, south, east, north; the map shows it whole. */
const zone = (element.dataset.zone ?? "").split(",").map(Number);

const map = L.map(element, { preferCanvas: true, maxZoom: 19, zoomControl: true, attributionControl: Boolean(element.dataset.tiles) });
if (element.dataset.tiles) {
  let failed = 0;
  const tiles = L.tileLayer(element.dataset.tiles, { attribution: element.dataset.attribution, maxZoom: 19 });
  tiles.on("tileerror", () => {
    failed += 1;
    if (failed < 3) return;
    tiles.remove();
    notice.textContent = element.dataset.lost ?? "";
    notice.hidden = false;
    drawOutlines(element.dataset.lostOutlines ?? "");
  });
  tiles.addTo(map);
} else {
  drawOutlines(element.dataset.noTiles ?? "");
}
L.control.scale({ imperial: false }).addTo(map);

const clusters = L.markerClusterGroup({
  chunkedLoading: true,
  maxClusterRadius: 50,
  disableClusteringAtZoom: 16,
  showCoverageOnHover: false,
  /** @param {any} cluster */
  iconCreateFunction(cluster) {
    const worst = Math.min(...cluster.getAllChildMarkers().map((/** @type {any} */ marker) => marker.options.rank));
    const state = states[worst] ?? "unknown";
    return L.divIcon({ html: String(cluster.getChildCount()), className: `cluster ${state}`, iconSize: [38, 38] });
  },
});
clusters.addTo(map);

/** @type {string[]} */
let states = [];
let fitted = false;

/** @param {string} name @param {number} id */
function popup(name, id) {
  const link = document.createElement("a");
  link.href = `/equipements/${id}`;
  link.textContent = name;
  return link;
}

async function refresh() {
  const answer = await fetch(element.dataset.points ?? "", { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(String(answer.status));
  const points = await answer.json();
  element.dataset.at = new Date().toISOString();
  states = points.states;
  const markers = points.id.map((/** @type {number} */ id, /** @type {number} */ i) =>
    new StateMarker([points.latitude[i], points.longitude[i]], {
      radius: 7,
      rank: points.state[i],
      state: states[points.state[i]],
    }).bindPopup(() => popup(points.name[i], id)),
  );
  clusters.clearLayers();
  clusters.addLayers(markers);
  element.dataset.count = String(markers.length);
  if (!markers.length) {
    map.setView([46.6, 2.4], 5);
    notice.textContent = element.dataset.empty ?? "";
    notice.hidden = false;
  } else if (!fitted) {
    if (zone.length !== 4) map.fitBounds(L.latLngBounds(markers.map((/** @type {any} */ marker) => marker.getLatLng())), { padding: [20, 20], maxZoom: 16 });
    fitted = true;
  }
}

let drawing = false;
let again = false;
let failed = false;

/** Once at a time; what changes meanwhile is drawn after it. */
async function redraw() {
  again = true;
  if (drawing) return;
  drawing = true;
  while (again) {
    again = false;
    try {
      await refresh();
      if (failed) document.body.dispatchEvent(new CustomEvent("territoire:fresh"));
      failed = false;
    } catch {
      failed = true;
      document.body.dispatchEvent(new CustomEvent("territoire:stale"));
    }
  }
  drawing = false;
}

/** Somebody reads what a marker says: it stays where it is until they have. */
let isRead = false;
let missed = false;
let drawnAt = Date.now();
let timer = 0;

/** Not more often than every few seconds: ten thousand markers take their time. */
function redrawSoon() {
  missed = isRead;
  if (isRead || timer) return;
  timer = setTimeout(() => {
    timer = 0;
    if (isRead) missed = true;
    else redraw().then(() => (drawnAt = Date.now()));
  }, Math.max(0, drawnAt + REDRAW_MS - Date.now()));
}

/** What the states of all assets were digested to. @type {string | undefined} */
let digest;
document.body.addEventListener("territoire:live", (event) => {
  const { event: name, text } = /** @type {CustomEvent} */ (event).detail;
  if (name !== "states" || text === digest) return;
  if (digest !== undefined) redrawSoon();
  digest = text;
});
map.on("popupopen", () => (isRead = true));
map.on("popupclose", () => {
  isRead = false;
  if (missed) redrawSoon();
});
document.body.addEventListener("territoire:refresh", redraw);
setInterval(() => document.hidden || document.documentElement.hasAttribute("data-paused") || redraw(), REFRESH_MS);
await redraw();
if (element.dataset.layer) await drawLayer();
if (commune && zone.length !== 4) await showCommune();
if (zone.length === 4) map.fitBounds([[zone[1], zone[0]], [zone[3], zone[2]]]);

/** The list beside the map, and the address, become what the map shows. */
const narrowing = /** @type {HTMLButtonElement | null} */ (document.getElementById("use-zone"));
const field = /** @type {HTMLInputElement | null} */ (document.getElementById("zone"));
if (narrowing && field) {
  narrowing.hidden = false;
  narrowing.addEventListener("click", () => {
    const bounds = map.getBounds();
    field.value = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()].map((one) => one.toFixed(5)).join(",");
    field.form?.requestSubmit();
  });
}
