// Une aide du même nom que celle du décodeur, mais autre.
const scale = (word) => (word === 'yes' ? 0xff : 0x00);
function encodeDownlink(input) {
  return { fPort: 3, bytes: [scale(input.data.reboot)], warnings: [], errors: [] };
}
