function decodeUplink(input) {
  return { open: input.bytes[0] === 1, time: input.time };
}
function encodeDownlink(input) {
  return { bytes: [input.open ? 1 : 0], fPort: 2 };
}
function decodeDownlink(input) {
  return { open: input.bytes[0] === 1 };
}
exports.decodeUplink = decodeUplink;
exports.encodeDownlink = encodeDownlink;
exports.decodeDownlink = decodeDownlink;
