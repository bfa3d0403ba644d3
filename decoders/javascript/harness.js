// What runs around a vendor's script, in its context, before it. Called with the limits it gives `resolve`, which
// is told what the script defines and gives `run`.
//
// A script may redefine whatever it can reach, so everything that is used after it was loaded is captured here, and
// nothing is enumerated through a prototype. What is written out is built by hand: a `toJSON` on Object.prototype or
// a JSON of the script's own changes nothing about it. Messages are read by the technician, in French.
(function (limits) {
  'use strict';
  const { parse, stringify } = JSON;
  const { apply, construct, defineProperty, deleteProperty } = Reflect;
  const { keys, create } = Object;
  const { isArray } = Array;
  const { isFinite: isFiniteNumber } = Number;
  const { imul, floor } = Math;
  const Text = String;
  const TypedArray = Object.getPrototypeOf(Uint8Array);
  const TheError = Error, TheRangeError = RangeError, TheInternalError = InternalError;
  const slice = Function.prototype.call.bind(String.prototype.slice);
  const wellFormed = Function.prototype.call.bind(String.prototype.toWellFormed);
  const match = Function.prototype.call.bind(String.prototype.match);
  const test = Function.prototype.call.bind(RegExp.prototype.test);
  const tag = Function.prototype.call.bind(Object.prototype.toString);
  const HEXADECIMAL = /^([0-9a-fA-F]{2})*$/;
  const LATER = { __proto__: null, '[object Promise]': 'une promesse', '[object Generator]': 'un générateur',
    '[object AsyncGenerator]': 'un générateur' };
  const toNumber = parseInt;
  const GeneralFunction = Function;

  // ---- Determinism: the clock stands at the call's recvTime, chance is drawn from it.
  const RealDate = Date;
  let now = 0;
  let seed = 0;
  function ClockDate(...given) {
    if (new.target === undefined) return apply(RealDate.prototype.toString, new RealDate(now), []);
    return construct(RealDate, given.length ? given : [now], new.target);
  }
  const clock = {
    now: function () { return now; },
    parse: RealDate.parse,
    UTC: RealDate.UTC,
    prototype: RealDate.prototype,
  };
  for (const name of ['now', 'parse', 'UTC']) {
    defineProperty(ClockDate, name, { value: clock[name], writable: true, configurable: true });
  }
  defineProperty(ClockDate, 'prototype', { value: RealDate.prototype, writable: false });
  defineProperty(ClockDate, 'name', { value: 'Date' });
  defineProperty(ClockDate, 'length', { value: 7 });
  defineProperty(RealDate.prototype, 'constructor', { value: ClockDate, writable: true, configurable: true });
  defineProperty(globalThis, 'Date', { value: ClockDate, writable: true, configurable: true });
  defineProperty(Math, 'random', {
    value: function random() {  // mulberry32
      seed = (seed + 0x6d2b79f5) | 0;
      let mixed = imul(seed ^ (seed >>> 15), 1 | seed);
      mixed = (mixed + imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    },
    writable: true,
    configurable: true,
  });
  function setClock(milliseconds) {
    now = milliseconds;
    seed = (floor(milliseconds / 1000) ^ imul(milliseconds % 1000, 0x9e3779b1)) | 0;
  }
  setClock(0);
  // The machine's own clock, and what waits for other threads.
  for (const name of ['performance', 'SharedArrayBuffer', 'Atomics']) deleteProperty(globalThis, name);

  // ---- What a script is read with in the other engines.
  const lines = [];
  let lineCount = 0;
  let lineOctets = 0;
  function note(...given) {
    if (lineCount >= limits.console_lines || lineOctets >= limits.console_octets) return;
    let line = '';
    for (let place = 0; place < given.length && line.length < limits.console_line; place++) {
      line += (place ? ' ' : '') + shown(given[place]);
    }
    line = wellFormed(slice(line, 0, limits.console_line));
    lineOctets += line.length;
    lines[lineCount++] = line;
  }
  function shown(value) {
    try {
      if (typeof value === 'string') return value;
      if (typeof value === 'object' && value !== null) {
        return value instanceof TheError ? described(value) : (stringify(value) ?? '?');
      }
      return Text(value);
    } catch {
      return '?';
    }
  }
  const consoleObject = {};
  for (const name of ['log', 'info', 'warn', 'error', 'debug', 'trace', 'table', 'dir', 'group', 'groupEnd', 'time',
    'timeEnd', 'assert']) consoleObject[name] = name === 'log' ? note : (...given) => note(...given);
  const modules = create(null);
  const sources = limits.modules;
  function required(name) {
    const wanted = Text(name);
    const bare = slice(wanted, 0, 5) === 'node:' ? slice(wanted, 5) : wanted;
    const plain = bare === 'buffer/' ? 'buffer' : bare;
    if (modules[plain] !== undefined) return modules[plain].exports;
    if (sources === undefined || sources[plain] === undefined) {
      throw new TheError("require('" + wanted + "') : ce module n'existe pas ici (buffer et crypto seulement)");
    }
    const made = { exports: {} };
    modules[plain] = made;
    new GeneralFunction('module', 'exports', 'require', sources[plain])(made, made.exports, required);
    return made.exports;
  }
  function define(name, value) {
    defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
  define('console', consoleObject);
  define('exports', {});
  define('module', { exports: globalThis.exports });
  define('require', required);
  let context = [];
  define('context', context);  // Actility's drivers keep what they like in it, from one call to the next; here, no longer.
  if (sources !== undefined) {
    defineProperty(globalThis, 'Buffer', {
      get() {
        const made = required('buffer').Buffer;
        define('Buffer', made);
        return made;
      },
      set(value) { define('Buffer', value); },
      configurable: true,
    });
  }

  // ---- Where a script keeps its functions, and how the three generations are called.
  const HOLDERS = [
    (found) => found.driver,
    (found) => found.module && found.module.exports,
    (found) => found.exports,
    (found) => found.module && found.module.exports && found.module.exports.driver,
    (found) => found.exports && found.exports.driver,
  ];
  function find(found, name) {
    if (typeof found[name] === 'function') return { of: undefined, called: found[name], name };
    for (let place = 0; place < 5; place++) {
      const holder = HOLDERS[place](found);
      if ((typeof holder === 'object' || typeof holder === 'function') && holder !== null) {
        const called = holder[name];
        if (typeof called === 'function') return { of: holder, called, name };
      }
    }
    return undefined;
  }
  const FORMS = {
    __proto__: null,
    decodeUplink: ['decodeUplink', 'Decoder', 'Decode'],
    encodeDownlink: ['encodeDownlink', 'Encoder', 'Encode'],
    decodeDownlink: ['decodeDownlink'],
  };
  const entries = create(null);
  function resolve(found, form) {
    for (const operation of ['decodeUplink', 'encodeDownlink', 'decodeDownlink']) {
      const names = FORMS[operation];
      for (let place = 0; place < names.length && entries[operation] === undefined; place++) {
        const isForced = form === null || names.length === 1 || FORMS.decodeUplink[place] === form;
        if (isForced) entries[operation] = find(found, names[place]);
      }
    }
    return run;
  }
  function called(entry, input) {
    const { of, called: entered } = entry;
    switch (entry.name) {
      case 'Decoder': return apply(entered, of, [input.bytes, input.fPort]);
      case 'Decode': return apply(entered, of, [input.fPort, input.bytes, input.variables]);
      case 'Encoder': return apply(entered, of, [input.data, input.fPort]);
      case 'Encode': return apply(entered, of, [input.fPort, input.data, input.variables]);
      default: return apply(entered, of, [input]);
    }
  }

  // ---- What a result becomes: JSON, whatever it is made of.
  const excess = { reason: '' };  // Thrown when a result is larger than may be.
  function exceeds(reason) {
    excess.reason = reason;
    throw excess;
  }
  let left = 0;
  let warnings = '';
  let warningCount = 0;
  const trail = [];
  function warn(text) {
    if (warningCount++ < 20) warnings += (warnings && ',') + stringify(wellFormed(slice(text, 0, 300)));
  }
  function quoted(text) {
    left -= text.length + 2;
    if (left < 0) exceeds('résultat de plus de ' + limits.output_octets / 1024 + ' Ko');
    return stringify(wellFormed(text));
  }
  function place(depth) {
    let path = '';
    for (let level = 0; level <= depth; level++) path += (level ? '.' : '') + Text(trail[level]);
    return path || 'résultat';
  }
  // The JSON of a value; undefined when JSON has none for it.
  function json(value, depth) {
    switch (typeof value) {
      case 'number':
        left -= 4;
        if (isFiniteNumber(value)) return '' + value;
        warn(place(depth) + ' : ' + value + ' n\'est pas une valeur, champ laissé de côté');
        return undefined;
      case 'string': return quoted(value);
      case 'boolean': left -= 5; return value ? 'true' : 'false';
      case 'bigint': return quoted('' + value);
      case 'object': return value === null ? 'null' : composed(value, depth);
      default: return undefined;
    }
  }
  function composed(given, depth) {
    let value = given;
    const convert = value.toJSON;
    if (typeof convert === 'function') {
      value = apply(convert, value, [depth < 0 ? '' : Text(trail[depth])]);
      if (typeof value !== 'object' || value === null) return json(value, depth);
    }
    if (depth + 1 > limits.depth) exceeds('résultat imbriqué de plus de ' + limits.depth + ' niveaux');
    if (isArray(value)) return listed(value, depth + 1);
    const names = keys(value);
    const count = names.length;
    if (count > limits.keys) exceeds('objet de plus de ' + limits.keys + ' clés (' + count + ')');
    let text = '';
    for (let index = 0; index < count; index++) {
      const name = names[index];
      trail[depth + 1] = name;
      const of = json(value[name], depth + 1);
      if (of !== undefined) text += (text && ',') + quoted(name) + ':' + of;
    }
    return '{' + text + '}';
  }
  function listed(value, depth) {
    const count = value.length;
    let text = '';
    for (let index = 0; index < count; index++) {
      if (--left < 0) exceeds('résultat de plus de ' + limits.output_octets / 1024 + ' Ko');
      trail[depth] = index;
      text += (index ? ',' : '') + (json(value[index], depth) ?? 'null');
    }
    return '[' + text + ']';
  }
  function messages(given) {
    if (given === undefined || given === null) return '[]';
    const all = isArray(given) ? given : [given];
    let text = '';
    for (let index = 0; index < all.length && index < 20; index++) {
      const one = all[index];
      text += (text && ',') + stringify(wellFormed(slice(shown(one), 0, 500)));
    }
    return '[' + text + ']';
  }
  function octets(given) {
    let value = given;
    if (typeof value === 'string' && test(HEXADECIMAL, value)) {
      const read = [];
      for (let index = 0; index < value.length; index += 2) read[index / 2] = toNumber(slice(value, index, index + 2), 16);
      return read;
    }
    if (typeof value === 'object' && value !== null && !isArray(value) && !(value instanceof TypedArray)) {
      value = value.type === 'Buffer' ? value.data : value;
    }
    if (!isArray(value) && !(value instanceof TypedArray)) return undefined;
    const count = value.length;
    if (count > 1024) exceeds('message descendant de plus de 1024 octets');
    const read = [];
    for (let index = 0; index < count; index++) {
      const octet = value[index];
      if (typeof octet !== 'number' || octet < -128 || octet > 255 || floor(octet) !== octet) return undefined;
      read[index] = octet & 255;
    }
    return read;
  }
  const ENVELOPE = ['data', 'errors', 'warnings'];
  function isEnvelope(result) {
    if (typeof result !== 'object' || result === null || isArray(result)) return false;
    for (let index = 0; index < 3; index++) if (result[ENVELOPE[index]] !== undefined) return true;
    return false;
  }
  function decodedJson(result, entry) {
    let data = result;
    let errors = '[]';
    if (isEnvelope(result)) {
      data = result.data;
      errors = messages(result.errors);
      const said = messages(result.warnings);
      warnings = slice(said, 1, said.length - 1);
    } else if (entry.name === 'decodeUplink' && result && typeof result.error === 'string') {
      data = undefined;
    }
    if (errors === '[]' && result && typeof result.error === 'string' && entry.name !== 'Decoder') {
      errors = messages(result.error);
    }
    return '{"data":' + (json(data, -1) ?? 'null') + '},"errors":' + errors;
  }
  function encodedJson(result, input) {
    let bytes = result;
    let errors = '[]';
    let fPort = input.fPort;
    if (typeof result === 'object' && result !== null && !isArray(result) && !(result instanceof TypedArray)
        && result.type !== 'Buffer') {
      bytes = result.bytes;
      if (result.fPort !== undefined && result.fPort !== null) fPort = +result.fPort;
      errors = messages(result.errors ?? result.error);
      const said = messages(result.warnings);
      warnings = slice(said, 1, said.length - 1);
    }
    const read = octets(bytes);
    if (read === undefined && errors === '[]') errors = '["le codec n\'a pas donné d\'octets"]';
    const port = typeof fPort === 'number' && isFiniteNumber(fPort) ? floor(fPort) : null;
    return '{"bytes":' + (read === undefined ? 'null' : listed(read, 0)) + ',"fPort":' + port + '},"errors":' + errors;
  }

  // ---- What went wrong, told without trusting what was thrown.
  function described(thrown) {
    if (typeof thrown !== 'object' || thrown === null) return slice(Text(thrown), 0, 300);
    let text = thrown.message;
    text = (typeof thrown.name === 'string' ? thrown.name + ': ' : '') + (typeof text === 'string' ? text : '?');
    const stack = thrown.stack;
    const at = typeof stack === 'string' ? match(stack, /<input>:(\d+)/) : null;
    return slice(text, 0, 300) + (at === null ? '' : ' (ligne ' + at[1] + ')');
  }
  function failed(thrown) {
    if (thrown === excess) return failure('output', 'Résultat refusé : ' + excess.reason);
    // Without memory left for the error itself, the engine throws null.
    if (thrown === null || thrown instanceof TheInternalError && thrown.message === 'out of memory') {
      return failure('memory', 'Le codec a échoué : plus de mémoire');
    }
    if (thrown instanceof TheRangeError && thrown.message === 'Maximum call stack size exceeded') {
      return failure('script', 'Le codec a échoué : récursion sans fin');
    }
    let reason = 'exception illisible';
    try { reason = described(thrown); } catch { /* A getter that throws: what it hides stays hidden. */ }
    return failure('script', 'Le codec a échoué : ' + reason);
  }
  function failure(kind, reason) {
    return '{"failure":"' + kind + '","reason":' + stringify(wellFormed(reason));
  }

  function run(operation, text) {
    left = limits.output_octets;
    warnings = '';
    warningCount = 0;
    lineCount = lineOctets = 0;
    let said;
    try {
      const entry = entries[operation];
      if (entry === undefined) {
        said = failure('script', 'Le codec n\'a pas de fonction ' + operation);
      } else {
        const input = parse(text);
        setClock(typeof input.recvTime === 'number' ? input.recvTime : typeof input.clock === 'number' ? input.clock : 0);
        if (operation !== 'encodeDownlink' && typeof input.recvTime === 'number') input.recvTime = new RealDate(now);
        else delete input.recvTime;
        if (globalThis.context === context) globalThis.context = context = isArray(input.context) ? input.context : [];
        delete input.clock;  // A context stays in the input, too: that is where Actility's drivers look for it.
        const result = called(entry, input);
        const later = LATER[tag(result)];
        if (later !== undefined) {
          said = failure('script', 'Le codec a échoué : la fonction ' + entry.name + ' rend ' + later + ', pas un résultat');
        } else {
          said = '{"output":' + (operation === 'encodeDownlink' ? encodedJson(result, input) : decodedJson(result, entry));
        }
      }
    } catch (thrown) {
      said = failed(thrown);
    }
    if (warnings) said += ',"warnings":[' + warnings + ']';
    if (lineCount) {
      let console = '';
      for (let index = 0; index < lineCount; index++) console += (index ? ',' : '') + stringify(lines[index]);
      said += ',"console":[' + console + ']';
    }
    return wellFormed(said + '}');  // Which makes one string of the pieces that the engine keeps apart.
  }
  return resolve;
})
