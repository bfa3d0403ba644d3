function decodeUplink(input) {
  if (input.fPort !== 2) {
    return { errors: ['port inconnu'] };
  }
  var b = input.bytes;
  var data = { distance: (b[1] << 8) | b[2], battery: b[3], radar: b[0] === 1 ? 'on' : 'off' };
  if (input.recvTime) data.at = input.recvTime;
  return { data: data, warnings: b[3] < 20 ? ['pile faible'] : [], errors: [] };
}

function encodeDownlink(input) {
  var minutes = input.data.interval_min;
  if (!(minutes >= 1 && minutes <= 255)) {
    return { errors: ['intervalle impossible'] };
  }
  return { bytes: [0x10, minutes], fPort: 2, warnings: [], errors: [] };
}

function decodeDownlink(input) {
  return { data: { interval_min: input.bytes[1] }, warnings: [], errors: [] };
}
