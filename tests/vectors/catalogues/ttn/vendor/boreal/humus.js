const scale = (octet) => octet / 10;
function decodeUplink(input) {
  const readings = [];
  for (let i = 0; i + 1 < input.bytes.length; i += 2) {
    const time = new Date(input.recvTime.getTime() - (i / 2) * 600000).toISOString();
    readings.push({ time, temperature: scale(input.bytes[i]), humidity: input.bytes[i + 1] });
  }
  return { data: { readings } };
}
