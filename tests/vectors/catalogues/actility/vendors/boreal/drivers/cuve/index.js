var driver;
(function () {
  "use strict";
  function decodeUplink(input) {
    const raw = Buffer.from(input.bytes);
    if (raw.length < 4) return { errors: "trame trop courte", warnings: [] };
    const data = { level: raw.readUInt16BE(0), temperature: raw.readInt16LE(2) / 100, date: input.recvTime };
    const known = typeof context === "undefined" ? [] : context;
    if (known.length) data.change = data.level - known[known.length - 1].level;
    if (data.level === 0) data.share = 0 / 0;
    data.seen = new Date().toISOString();
    return { data: data, errors: [], warnings: [] };
  }
  function encodeDownlink(input) {
    return { fPort: 7, bytes: [0x01, input.data.minutes & 0xff], errors: [], warnings: [] };
  }
  function decodeDownlink(input) {
    return { data: { minutes: input.bytes[1] }, errors: [], warnings: [] };
  }
  driver = { decodeUplink, encodeDownlink, decodeDownlink };
})();
