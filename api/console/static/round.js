// @ts-check
/** A round on a map: its bins numbered in their order, a line for each trip, the depot and the outlet. */

/* global L */

const element = /** @type {HTMLElement} */ (document.getElementById("round-map"));
const style = getComputedStyle(document.documentElement);
const COLOURS = ["--accent", "--critical", "--good", "--warning"].map((name) => style.getPropertyValue(name).trim());

/** @type {[number, number, number, number, number, string, string][]} */
const points = JSON.parse(element.dataset.points ?? "[]");
/** @type {[number, number][]} */
const [depot, outlet] = JSON.parse(element.dataset.places ?? "[]");

const map = L.map(element, { preferCanvas: true, maxZoom: 19, attributionControl: Boolean(element.dataset.tiles) });
if (element.dataset.tiles) L.tileLayer(element.dataset.tiles, { attribution: element.dataset.attribution, maxZoom: 19 }).addTo(map);
map.fitBounds(L.latLngBounds([depot, outlet, ...points.map(([lat, lon]) => [lat, lon])]), { padding: [24, 24] });

/** What a name says is text. @param {string} name */
function said(name) {
  const words = document.createElement("span");
  words.textContent = name;
  return words;
}

/** @param {[number, number]} place @param {string} text @param {string} name @param {string} kind */
function mark(place, text, name, kind) {
  const icon = L.divIcon({ className: `stop ${kind}`, html: said(text), iconSize: [26, 26] });
  L.marker(place, { icon, title: name, alt: name, keyboard: false }).bindTooltip(said(name)).addTo(map);
}

/** @type {Map<string, { truck: number, trip: number, way: [number, number][] }>} */
const trips = new Map();
for (const [lat, lon, truck, trip, position, name, outcome] of points) {
  const key = `${truck}.${trip}`;
  if (!trips.has(key)) trips.set(key, { truck, trip, way: [trip === 1 ? depot : outlet] });
  trips.get(key)?.way.push([lat, lon]);
  mark([lat, lon], String(position), `${position}. ${name}`, outcome);
}
const last = new Map([...trips.values()].map(({ truck, trip }) => [truck, trip]));
for (const { truck, trip, way } of trips.values()) {
  const whole = trip === last.get(truck) ? [...way, outlet, depot] : [...way, outlet];
  L.polyline(whole, { color: COLOURS[(truck - 1) % COLOURS.length], weight: 3, dashArray: trip % 2 ? "" : "6 6" }).addTo(map).bringToBack();
}
mark(depot, "D", element.dataset.depot ?? "", "end");
mark(outlet, "E", element.dataset.outlet ?? "", "end");
element.dataset.drawn = String(points.length);
