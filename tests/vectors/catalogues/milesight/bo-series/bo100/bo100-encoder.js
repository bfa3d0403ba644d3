var RAW = 0x01;
function encodeDownlink(input) {
  return { fPort: 85, bytes: encode(input.data) };
}
function encode(data) {
  return signed(data.report_interval);
}
function signed(value) {
  return [0xff, 0x03, value & 0xff, value >> 8];
}
