// Scripts of our own that cost what vendors' do: a loop over tags, Node's Buffer, a history. One per block.

// ---- tags
function decodeUplink(input) {
  var decoded = {};
  var bytes = input.bytes;
  for (var i = 0; i < bytes.length;) {
    var channel = bytes[i++];
    var type = bytes[i++];
    if (channel === 0x01 && type === 0x75) {
      decoded.battery = bytes[i];
      i += 1;
    } else if (channel === 0x03 && type === 0x67) {
      decoded.temperature = readInt16LE(bytes.slice(i, i + 2)) / 10;
      i += 2;
    } else if (channel === 0x04 && type === 0x68) {
      decoded.humidity = bytes[i] / 2;
      i += 1;
    } else if (channel === 0x07 && type === 0x7d) {
      decoded.co2 = readUInt16LE(bytes.slice(i, i + 2));
      i += 2;
    } else if (channel === 0x09 && type === 0x73) {
      decoded.pressure = readUInt16LE(bytes.slice(i, i + 2)) / 10;
      i += 2;
    } else {
      break;
    }
  }
  return { data: decoded };
}
function readUInt16LE(bytes) {
  return ((bytes[1] << 8) + bytes[0]) & 0xffff;
}
function readInt16LE(bytes) {
  var value = readUInt16LE(bytes);
  return value > 0x7fff ? value - 0x10000 : value;
}

// ---- buffer
const decodeUplink = (input) => {
  const buffer = Buffer.from(input.bytes);
  const data = { index: buffer.readUInt32BE(2), serial: buffer.toString('hex', 0, 2) };
  data.samples = [];
  for (let offset = 6; offset + 2 <= buffer.length; offset += 2) {
    data.samples.push({ variable: 'flow', value: buffer.readInt16BE(offset) / 100, date: input.recvTime });
  }
  return { data, warnings: data.index ? [] : ['index nul'] };
};

// ---- history
function Decoder(bytes, port) {
  var values = [];
  for (var i = 0; i + 1 < bytes.length; i += 2) {
    values.push({ temperature: ((bytes[i] << 8) | bytes[i + 1]) / 10, minutes: (i / 2) * 10 });
  }
  return { port: port, values: values, count: values.length };
}
