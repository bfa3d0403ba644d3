// What `node-aes-cmac` gives: AES-CMAC (RFC 4493) of a message, in hexadecimal. A module.
'use strict';
const { Buffer } = require('buffer');
const { createCipheriv } = require('crypto');

const doubled = (block) => block.map((octet, place) => ((octet << 1) | (block[place + 1] >> 7)) & 0xff)
  .map((octet, place) => octet ^ (place === 15 && block[0] & 0x80 ? 0x87 : 0));

exports.aesCmac = (key, message, options) => {
  const octets = Buffer.isBuffer(message) ? message : Buffer.from(message);
  const enciphered = (block) => {
    const cipher = createCipheriv('aes-' + 8 * key.length + '-ecb', key, null).setAutoPadding(false);
    return Array.from(Buffer.concat([cipher.update(block), cipher.final()]));
  };
  const whole = doubled(enciphered(Buffer.alloc(16)));
  const isWhole = octets.length > 0 && octets.length % 16 === 0;
  const padded = isWhole ? octets : Buffer.concat([octets, Buffer.from([0x80]), Buffer.alloc(15 - (octets.length % 16))]);
  const mask = isWhole ? whole : doubled(whole);
  let state = new Array(16).fill(0);
  for (let at = 0; at < padded.length; at += 16) {
    const last = at + 16 === padded.length;
    state = enciphered(Buffer.from(state.map((octet, place) => octet ^ padded[at + place] ^ (last ? mask[place] : 0))));
  }
  const said = Buffer.from(state);
  return options && options.returnAsBuffer ? said : said.toString('hex');
};
