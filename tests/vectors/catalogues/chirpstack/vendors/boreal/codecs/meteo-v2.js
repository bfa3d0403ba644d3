function Decode(fPort, bytes, variables) {
  return { temperature: bytes[0] / 2 - 40, variables: Object.keys(variables).length };
}
