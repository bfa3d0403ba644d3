// Values that catalogues write as JavaScript. The argument is { text, elements }; the data is { value } or { wrong }, or
// a list of these. The text is any stranger's script.
const OPENING = /^\s*(?:export\s+default|module\.exports\s*=|(?:var|let|const)\s+[\w$]+\s*=)/;
const TOKEN = /\/\/.*|\/\*[^]*?\*\/|(["'`])(?:\\[^]|(?!\1)[^])*\1|[^]/g;

// What depends on the machine is no value.
const RealDate = Date;
function OnlyDate(...given) {
  if (given.length !== 1) throw new TypeError("une date qui dépend de la machine");
  return new RealDate(given[0]);
}
function OnlyBuffer(given, encoding) {
  if (typeof given !== "string") return Array.from(given);
  if (encoding !== "hex" || !/^(?:[0-9a-fA-F]{2})*$/.test(given)) throw new TypeError("des octets qui n'en sont pas");
  return (given.match(/../g) ?? []).map((digits) => parseInt(digits, 16));
}
OnlyBuffer.from = OnlyBuffer;

function valueOf(text) {
  const value = new Function("Date", "Buffer", `return (${text}\n)`)(OnlyDate, OnlyBuffer);
  if (typeof value === "number" && !isFinite(value)) throw new RangeError("un nombre trop grand");
  return value;
}

// { value }, or { wrong } with its line in the file: the engine counts two lines more, those of the function's head.
function read(text, first = 1) {
  try {
    return { value: valueOf(text) };
  } catch (wrong) {
    const line = Number(/<input>:(\d+)/.exec(wrong?.stack)?.[1] ?? 3) - 2;
    return { wrong: `ligne ${first + Math.max(0, line - 1)} : ${described(wrong)}` };
  }
}
function described(wrong) {
  if (wrong instanceof ReferenceError) return `attendu une valeur, trouvé « ${wrong.message.split(" ")[0]} »`;
  if (wrong instanceof SyntaxError) return `attendu un littéral JavaScript (${wrong.message})`;
  return String(wrong?.message ?? wrong);
}

// Each element of a list on its own: one that is no value costs no other. None where the text is no list that closes.
function elementsOf(text) {
  const found = [];
  let depth = 0;
  let part = "";
  let line = 1;
  let first = 1;
  if (!/^(?:\s|\/\/.*|\/\*[^]*?\*\/)*\[/.test(text)) return [];
  for (const [token] of text.matchAll(TOKEN)) {
    const before = depth;
    depth += "[{(".includes(token) - "]})".includes(token);
    line += token.split("\n").length - 1;
    if (before === 0) continue; // The opening bracket, and comments before it.
    const ends = depth === 0;
    if (ends && !part.trim()) return found;
    if (!ends && !(depth === 1 && token === ",")) {
      part += token;
      continue;
    }
    found.push(read(part, first));
    if (ends) return found;
    part = "";
    first = line;
  }
  return [];
}

function decodeUplink({ text, elements }) {
  const body = text.replace(OPENING, (opening) => opening.replace(/\S/g, " ")).replace(/[;\s]*$/, "");
  return { data: elements ? elementsOf(body) : read(body) };
}
