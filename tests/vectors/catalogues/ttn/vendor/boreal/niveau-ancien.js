// La forme de The Things Network v2 : la fonction rend la donnée elle-même.
function Decoder(bytes, port) {
  return { distance_cm: ((bytes[0] << 8) | bytes[1]) / 10 };
}
