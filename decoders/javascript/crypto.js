// The part of Node's `crypto` that a codec may need: AES (FIPS 197) in ECB, CBC and CTR (NIST SP 800-38A) and CCM mode,
// for payloads that are ciphered a second time. A module: `require('crypto')`.
'use strict';
const { Buffer } = require('buffer');

// The S-box from the inverse in GF(2^8) and the affine map, so that no table of numbers has to be trusted.
const SBOX = new Uint8Array(256), INVERSE = new Uint8Array(256);
const times2 = (octet) => ((octet << 1) ^ (octet & 0x80 ? 0x11b : 0)) & 0xff;
for (let power = 1, inverse = 1, count = 0; count < 255; count++) {
  const rotated = inverse ^ (inverse << 1) ^ (inverse << 2) ^ (inverse << 3) ^ (inverse << 4);
  SBOX[power] = (rotated ^ (rotated >> 8) ^ 0x63) & 0xff;
  power ^= times2(power);  // Times 3, which generates all of them; the inverse is divided by it.
  inverse ^= inverse << 1;
  inverse ^= inverse << 2;
  inverse ^= inverse << 4;
  inverse &= 0xff;
  if (inverse & 0x80) inverse ^= 0x09;
}
SBOX[0] = 0x63;
for (let octet = 0; octet < 256; octet++) INVERSE[SBOX[octet]] = octet;

function multiplied(octet, by) {
  let product = 0;
  for (let power = octet; by; by >>= 1, power = times2(power)) if (by & 1) product ^= power;
  return product;
}

function expanded(key) {
  const words = key.length / 4, rounds = words + 6;
  const schedule = new Uint8Array(16 * (rounds + 1));
  schedule.set(key);
  let constant = 1;
  for (let at = key.length; at < schedule.length; at += 4) {
    let word = schedule.slice(at - 4, at);
    const place = (at / 4) % words;
    if (place === 0) {
      word = [SBOX[word[1]] ^ constant, SBOX[word[2]], SBOX[word[3]], SBOX[word[0]]];
      constant = times2(constant);
    } else if (words > 6 && place === 4) {
      word = word.map((octet) => SBOX[octet]);
    }
    for (let octet = 0; octet < 4; octet++) schedule[at + octet] = schedule[at + octet - key.length] ^ word[octet];
  }
  return schedule;
}

function addKey(state, schedule, round) {
  for (let octet = 0; octet < 16; octet++) state[octet] ^= schedule[16 * round + octet];
}
// Octet r + 4c of the state is row r of column c; row r is shifted by r.
function substituted(state, box, direction) {
  const shifted = new Uint8Array(16);
  for (let octet = 0; octet < 16; octet++) {
    const row = octet % 4;
    shifted[octet] = box[state[(octet + 4 * direction * row + 16) % 16]];
  }
  return shifted;
}
function mixed(state, factors) {
  const result = new Uint8Array(16);
  for (let octet = 0; octet < 16; octet++) {
    const column = octet & ~3, row = octet & 3;
    for (let other = 0; other < 4; other++) {
      result[octet] ^= multiplied(state[column + ((row + other) & 3)], factors[other]);
    }
  }
  return result;
}
function enciphered(block, schedule) {
  const rounds = schedule.length / 16 - 1;
  let state = Uint8Array.from(block);
  addKey(state, schedule, 0);
  for (let round = 1; round <= rounds; round++) {
    state = substituted(state, SBOX, 1);
    if (round < rounds) state = mixed(state, [2, 3, 1, 1]);
    addKey(state, schedule, round);
  }
  return state;
}
function deciphered(block, schedule) {
  const rounds = schedule.length / 16 - 1;
  let state = Uint8Array.from(block);
  for (let round = rounds; round > 0; round--) {
    addKey(state, schedule, round);
    if (round < rounds) state = mixed(state, [14, 11, 13, 9]);
    state = substituted(state, INVERSE, -1);
  }
  addKey(state, schedule, 0);
  return state;
}
const xor = (one, other) => one.map((octet, place) => octet ^ other[place]);
const octetsOf = (given, encoding) => (typeof given === 'string' ? Buffer.from(given, encoding) : Buffer.from(given));

class Cipher {
  constructor(algorithm, key, iv, isDecipher) {
    const [, bits, mode] = /^aes-?(128|192|256)-(ecb|cbc|ctr)$/i.exec(algorithm) ?? [];
    if (mode === undefined) throw new Error('Unknown cipher: ' + algorithm);
    const octets = octetsOf(key);
    if (octets.length * 8 !== +bits) throw new RangeError('Invalid key length');
    this.mode = mode.toLowerCase();
    this.chain = this.mode === 'ecb' ? null : Uint8Array.from(octetsOf(iv));
    if (this.chain !== null && this.chain.length !== 16) throw new TypeError('Invalid initialization vector');
    this.schedule = expanded(octets);
    this.isDecipher = isDecipher;
    this.isPadded = this.mode !== 'ctr';
    this.waiting = Buffer.alloc(0);
  }

  setAutoPadding(isPadded = true) {
    this.isPadded = isPadded && this.mode !== 'ctr';
    return this;
  }

  update(data, inputEncoding, outputEncoding) {
    let rest = Buffer.concat([this.waiting, octetsOf(data, inputEncoding)]);
    const done = [];
    // The last block of what is deciphered may be padding: it waits.
    const kept = this.mode === 'ctr' ? 0 : this.isDecipher && this.isPadded ? 17 : 16;
    while (rest.length >= (kept || 1)) {
      done.push(this.block(rest.subarray(0, 16)));
      rest = rest.subarray(16);
    }
    this.waiting = rest;
    return this.told(Buffer.concat(done.map((block) => Buffer.from(block))), outputEncoding);
  }

  final(outputEncoding) {
    let rest = this.waiting;
    this.waiting = Buffer.alloc(0);
    if (!this.isPadded) {
      if (rest.length) throw new Error('wrong final block length');
      return this.told(rest, outputEncoding);
    }
    if (!this.isDecipher) {
      const count = 16 - rest.length;
      return this.told(Buffer.from(this.block(Buffer.concat([rest, Buffer.alloc(count, count)]))), outputEncoding);
    }
    if (rest.length !== 16) throw new Error('wrong final block length');
    rest = this.block(rest);
    const count = rest[15];
    if (count < 1 || count > 16 || rest.slice(16 - count).some((octet) => octet !== count)) throw new Error('bad decrypt');
    return this.told(Buffer.from(rest.slice(0, 16 - count)), outputEncoding);
  }

  told(octets, encoding) {
    return encoding === undefined ? octets : octets.toString(encoding);
  }

  block(given) {
    const block = Uint8Array.from(given);
    if (this.mode === 'ctr') return this.counted(block);
    if (this.isDecipher) {
      const plain = deciphered(block, this.schedule);
      const said = this.chain === null ? plain : xor(plain, this.chain);
      if (this.chain !== null) this.chain = block;
      return said;
    }
    const said = enciphered(this.chain === null ? block : xor(block, this.chain), this.schedule);
    if (this.chain !== null) this.chain = said;
    return said;
  }

  counted(block) {
    const stream = enciphered(this.chain, this.schedule);
    for (let place = 15; place >= 0; place--) {
      this.chain[place] = (this.chain[place] + 1) & 0xff;
      if (this.chain[place]) break;
    }
    return xor(block, stream);
  }
}

// Counter with CBC-MAC (NIST SP 800-38C): a message is given whole, after its associated data.
class Ccm {
  constructor(key, nonce, options, isDecipher) {
    this.schedule = expanded(octetsOf(key));
    this.nonce = octetsOf(nonce);
    this.tagLength = options?.authTagLength ?? 16;
    if (this.nonce.length < 7 || this.nonce.length > 13) throw new TypeError('Invalid initialization vector');
    if (this.tagLength < 4 || this.tagLength > 16 || this.tagLength % 2) throw new TypeError('Invalid authentication tag length');
    this.isDecipher = isDecipher;
    this.associated = Buffer.alloc(0);
    this.tag = undefined;
  }

  setAAD(data) {
    this.associated = octetsOf(data);
    return this;
  }

  setAuthTag(tag) {
    this.tag = octetsOf(tag);
    return this;
  }

  getAuthTag() {
    return this.tag;
  }

  update(data, inputEncoding, outputEncoding) {
    const given = octetsOf(data, inputEncoding);
    const said = Buffer.from(given.map((octet, place) => octet ^ this.stream(1 + (place >> 4))[place & 15]));
    const tag = this.mac(this.isDecipher ? said : given);
    if (!this.isDecipher) this.tag = tag;
    else if (this.tag === undefined || Buffer.compare(tag, this.tag) !== 0) {
      throw new Error('Unsupported state or unable to authenticate data');
    }
    return outputEncoding === undefined ? said : said.toString(outputEncoding);
  }

  final(outputEncoding) {
    return outputEncoding === undefined ? Buffer.alloc(0) : '';
  }

  counted(flags, number) {
    const block = Buffer.alloc(16);
    block[0] = flags | (14 - this.nonce.length);
    this.nonce.copy(block, 1);
    for (let place = 15, rest = number; place > this.nonce.length; place--, rest = Math.floor(rest / 256)) block[place] = rest & 0xff;
    return block;
  }

  stream(number) {
    if (this.streamed !== number) {
      this.streamed = number;
      this.block = enciphered(this.counted(0, number), this.schedule);
    }
    return this.block;
  }

  mac(plain) {
    const padded = (octets) => Buffer.concat([octets, Buffer.alloc((16 - (octets.length % 16)) % 16)]);
    const count = this.associated.length;
    if (count >= 0xff00) throw new RangeError('Too much associated data');
    const flags = (count ? 0x40 : 0) | (((this.tagLength - 2) / 2) << 3);
    const associated = count ? padded(Buffer.concat([Buffer.from([count >> 8, count & 0xff]), this.associated])) : Buffer.alloc(0);
    const whole = Buffer.concat([this.counted(flags, plain.length), associated, padded(plain)]);
    let state = new Uint8Array(16);
    for (let at = 0; at < whole.length; at += 16) state = enciphered(xor(state, whole.subarray(at, at + 16)), this.schedule);
    return Buffer.from(xor(state, this.stream(0)).slice(0, this.tagLength));
  }
}

function made(algorithm, key, iv, options, isDecipher) {
  return /^aes-?(128|192|256)-ccm$/i.test(algorithm) ? new Ccm(key, iv, options, isDecipher) : new Cipher(algorithm, key, iv, isDecipher);
}
exports.createCipheriv = (algorithm, key, iv, options) => made(algorithm, key, iv, options, false);
exports.createDecipheriv = (algorithm, key, iv, options) => made(algorithm, key, iv, options, true);
