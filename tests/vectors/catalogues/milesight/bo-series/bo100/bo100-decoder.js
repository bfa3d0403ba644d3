var RAW = 0x00;
function decodeUplink(input) {
  return { data: decode(input.bytes) };
}
function Decode(fPort, bytes) {
  return decode(bytes);
}
function Decoder(bytes, port) {
  return decode(bytes);
}
function decode(bytes) {
  var decoded = {};
  for (var i = 0; i < bytes.length; ) {
    var channel = bytes[i++];
    var type = bytes[i++];
    if (channel === 0x01 && type === 0x75) {
      decoded.battery = bytes[i++];
    } else if (channel === 0x03 && type === 0x67) {
      decoded.temperature = signed(bytes, i) / 10;
      i += 2;
    } else if (channel === 0x20 && type === 0xce) {
      var seconds = (bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)) >>> 0;
      decoded.history = decoded.history || [];
      decoded.history.push({ timestamp: seconds, temperature: signed(bytes, i + 4) / 10 });
      i += 6;
    } else {
      break;
    }
  }
  return decoded;
}
function signed(bytes, at) {
  var value = (bytes[at + 1] << 8) | bytes[at];
  return value > 0x7fff ? value - 0x10000 : value;
}
