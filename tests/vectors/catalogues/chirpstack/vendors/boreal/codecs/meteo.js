function decodeUplink(input) {
  const view = new DataView(new Uint8Array(input.bytes).buffer);
  return {
    data: {
      temperature: view.getInt16(0) / 10,
      pressure: view.getUint16(2) / 10,
      rain: { mm: view.getUint8(4) * 0.2 },
    },
  };
}
function encodeDownlink(input) {
  return { bytes: input.data.heat ? [0x02, 0x01] : [0x02, 0x00] };
}
