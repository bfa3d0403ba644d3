// What the engine lacks of ECMA-402, as far as codecs use it: numbers and dates as text, in the locales of their
// vendors, UTC or Europe/Paris. Evaluated in every context before the harness.
(function () {
  'use strict';
  const THIN = '\u202f';
  const LOCALES = {
    __proto__: null,
    en: { group: ',', point: '.', order: 'mdy', between: '/', join: ', ', half: true },
    'en-GB': { group: ',', point: '.', order: 'dmy', between: '/', join: ', ', padded: true },
    fr: { group: THIN, point: ',', order: 'dmy', between: '/', join: ' ', padded: true },
    de: { group: '.', point: ',', order: 'dmy', between: '.', join: ', ' },
    es: { group: '.', point: ',', order: 'dmy', between: '/', join: ', ' },
    it: { group: '.', point: ',', order: 'dmy', between: '/', join: ', ' },
    sv: { group: '\u00a0', point: ',', order: 'ymd', between: '-', join: ' ', padded: true, minus: '\u2212' },
  };
  function localeOf(given) {
    const wanted = String((Array.isArray(given) ? given[0] : given) ?? 'en-US');
    return LOCALES[wanted] ?? LOCALES[wanted.slice(0, 2)] ?? LOCALES.en;
  }
  const { min, max, abs } = Math;

  // Half up in decimal, as ICU does; toFixed rounds what the number is in binary.
  function rounded(number, digits) {
    const text = String(number);
    if (text.includes('e')) {
      const [whole, fraction = ''] = number < 1 ? number.toFixed(digits).split('.') : [String(BigInt(number))];
      return [whole, fraction.padEnd(digits, '0')];
    }
    const [whole, fraction = ''] = text.split('.');
    const next = fraction[digits] >= '5' ? 1n : 0n;
    const all = String(BigInt(whole + fraction.slice(0, digits).padEnd(digits, '0')) + next).padStart(digits + 1, '0');
    return [all.slice(0, all.length - digits), all.slice(all.length - digits)];
  }

  function numberText(number, given, options) {
    const of = localeOf(given);
    const { minimumFractionDigits: least, maximumFractionDigits: most, minimumIntegerDigits = 1, useGrouping = true,
      style } = options ?? {};
    const isPercent = style === 'percent';
    const fewest = least ?? 0;
    const scaled = isPercent ? number * 100 : number;
    const digits = min(100, most ?? max(fewest, isPercent ? 0 : 3));
    const sign = scaled < 0 || Object.is(scaled, -0) ? of.minus ?? '-' : '';
    const end = isPercent ? (of === LOCALES.fr ? THIN + '%' : of.point === ',' ? '\u00a0%' : '%') : '';
    if (Number.isNaN(scaled)) return 'NaN' + end;
    if (!Number.isFinite(scaled)) return sign + '\u221e' + end;
    let [whole, fraction] = rounded(abs(scaled), digits);
    while (fraction.length > fewest && fraction.endsWith('0')) fraction = fraction.slice(0, -1);
    whole = whole.padStart(minimumIntegerDigits, '0');
    if (useGrouping && !(of === LOCALES.es && whole.length < 5)) whole = whole.replace(/\B(?=(\d{3})+$)/g, of.group);
    return sign + whole + (fraction && of.point + fraction) + end;
  }

  // Summer time from the last Sunday of March to that of October, at 01:00 UTC (directive 2000/84/EC).
  function lastSunday(year, month) {
    const last = new Date(Date.UTC(year, month + 1, 0, 1));
    return last.getTime() - last.getUTCDay() * 86400000;
  }
  function zoned(time, zone) {
    if (zone !== 'Europe/Paris' && zone !== 'Europe/Brussels' && zone !== 'Europe/Berlin') return new Date(time);
    const year = new Date(time).getUTCFullYear();
    const isSummer = time >= lastSunday(year, 2) && time < lastSunday(year, 9);
    return new Date(time + (isSummer ? 7200000 : 3600000));
  }
  const two = (number) => String(number).padStart(2, '0');
  const DATE_PARTS = ['year', 'month', 'day'];
  const TIME_PARTS = ['hour', 'minute', 'second'];
  const PARTS = [...DATE_PARTS, ...TIME_PARTS];

  function dateText(date, given, options, dateByDefault, timeByDefault) {
    const time = date.getTime();
    if (Number.isNaN(time)) return 'Invalid Date';
    const of = localeOf(given);
    const at = zoned(time, options?.timeZone);
    let wanted = options ?? {};
    const asksFor = (parts) => parts.some((part) => options?.[part] !== undefined);
    const isFree = !asksFor(dateByDefault ? (timeByDefault ? PARTS : DATE_PARTS) : TIME_PARTS);
    if (isFree && dateByDefault) wanted = { ...wanted, year: 'numeric', month: 'numeric', day: 'numeric' };
    if (isFree && timeByDefault) wanted = { ...wanted, hour: 'numeric', minute: '2-digit', second: '2-digit' };
    const isTwo = (part) => wanted[part] === '2-digit' || (of.padded && wanted[part] === 'numeric' && part !== 'year');
    const shown = (part, number) => (isTwo(part) ? two(number % 100) : String(number));
    const days = {
      y: wanted.year && shown('year', at.getUTCFullYear()),
      m: wanted.month && shown('month', at.getUTCMonth() + 1),
      d: wanted.day && shown('day', at.getUTCDate()),
    };
    const dateSide = [...of.order].map((letter) => days[letter]).filter(Boolean).join(of.between);
    const isHalf = wanted.hour12 ?? of.half ?? false;
    let hour = at.getUTCHours();
    const noon = isHalf ? (hour < 12 ? ' AM' : ' PM') : '';
    if (isHalf) hour = hour % 12 || 12;
    else if (of.half && hour === 0) hour = 24;
    const times = [
      wanted.hour && (isHalf && wanted.hour !== '2-digit' ? String(hour) : two(hour)),
      wanted.minute && two(at.getUTCMinutes()),
      wanted.second && two(at.getUTCSeconds()),
    ].filter(Boolean);
    const timeSide = times.length ? times.join(':') + (wanted.hour ? noon : '') : '';
    return [dateSide, timeSide].filter(Boolean).join(of.join);
  }

  function method(prototype, name, call) {
    Object.defineProperty(prototype, name, { value: call, writable: true, configurable: true });
  }
  method(Number.prototype, 'toLocaleString', function (given, options) {
    return numberText(Number(this), given, options);
  });
  method(BigInt.prototype, 'toLocaleString', function (given, options) {
    return numberText(Number(this), given, options);
  });
  method(Date.prototype, 'toLocaleString', function (given, options) {
    return dateText(this, given, options, true, true);
  });
  method(Date.prototype, 'toLocaleDateString', function (given, options) {
    return dateText(this, given, options, true, false);
  });
  method(Date.prototype, 'toLocaleTimeString', function (given, options) {
    return dateText(this, given, options, false, true);
  });
  // The zone's name, which V8 adds.
  for (const name of ['toString', 'toTimeString']) {
    const plain = Date.prototype[name];
    method(Date.prototype, name, function () {
      const text = plain.call(this);
      return text === 'Invalid Date' ? text : text + ' (Coordinated Universal Time)';
    });
  }
})();
