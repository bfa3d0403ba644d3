"""`require('crypto')`: AES as OpenSSL does it."""

import msgspec
from cryptography.hazmat.primitives import cmac, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.javascript.calls import Limits, Script
from decoders.javascript.engine import QuickJs
from tests.decoders.javascript.conftest import Decode

SCRIPT = """
const crypto = require('crypto');
function decodeUplink({ variables: { deciphers, algorithm, key, iv, data, padded, parts } }) {
  const make = deciphers ? crypto.createDecipheriv : crypto.createCipheriv;
  const cipher = make(algorithm, Buffer.from(key, 'hex'), iv === null ? null : Buffer.from(iv, 'hex'));
  cipher.setAutoPadding(padded);
  let said = '';
  for (const part of parts) said += cipher.update(data.slice(2 * part[0], 2 * part[1]), 'hex', 'hex');
  return { data: said + cipher.final('hex') };
}
"""
LOADED = QuickJs(Limits()).load(Script("crypto", SCRIPT))


def spoken(**variables: object) -> str:
    octets = msgspec.json.encode({"bytes": [], "fPort": 1, "recvTime": 0, "variables": variables}).decode()
    return msgspec.json.decode(LOADED.call("decodeUplink", octets))["output"]["data"]


def openssl(mode: str, key: bytes, iv: bytes, data: bytes, *, padded: bool) -> bytes:
    how = {"ecb": modes.ECB(), "cbc": modes.CBC(iv), "ctr": modes.CTR(iv)}[mode]
    if padded and mode != "ctr":
        padder = padding.PKCS7(128).padder()
        data = padder.update(data) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), how).encryptor()
    return encryptor.update(data) + encryptor.finalize()


@settings(max_examples=60)
@given(
    st.sampled_from(["ecb", "cbc", "ctr"]),
    st.sampled_from([128, 192, 256]).flatmap(lambda bits: st.binary(min_size=bits // 8, max_size=bits // 8)),
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=80),
    st.booleans(),
    st.integers(0, 5),
)
def test_aes_is_openssl_s(mode: str, key: bytes, iv: bytes, data: bytes, padded: bool, blocks: int) -> None:
    if not padded and mode != "ctr":
        data = data[: len(data) // 16 * 16]
    given = {
        "algorithm": f"aes-{8 * len(key)}-{mode}",
        "key": key.hex(),
        "iv": None if mode == "ecb" else iv.hex(),
        "padded": padded,
    }
    expected = openssl(mode, key, iv, data, padded=padded)
    cut = min(16 * blocks, len(data))

    said = spoken(**given, deciphers=False, data=data.hex(), parts=[[0, cut], [cut, len(data)]])
    back = spoken(**given, deciphers=True, data=said, parts=[[0, cut], [cut, len(said) // 2]])

    assert said == expected.hex()
    assert back == data.hex()


async def test_a_missing_function_of_crypto_is_reported(decode: Decode) -> None:
    answer = await decode(
        "function decodeUplink() { require('crypto').createDecipheriv('aes-128-gcm', '0'.repeat(16), '') }"
    )

    assert (answer.failure, "Unknown cipher: aes-128-gcm" in answer.reason) == ("script", True)


MACS = QuickJs(Limits()).load(
    Script(
        "cmac",
        "const { version } = require('os'); const { aesCmac } = require('node-aes-cmac');"
        "function decodeUplink({ variables: { key, data } }) {"
        "  return { data: aesCmac(Buffer.from(key, 'hex'), Buffer.from(data, 'hex')) } }",
    )
)


@settings(max_examples=40)
@given(st.binary(min_size=16, max_size=16), st.binary(max_size=50))
def test_a_mac_is_openssl_s(key: bytes, data: bytes) -> None:
    variables = {"key": key.hex(), "data": data.hex()}
    octets = msgspec.json.encode({"bytes": [], "fPort": 1, "recvTime": 0, "variables": variables}).decode()
    expected = cmac.CMAC(algorithms.AES(key))
    expected.update(data)

    assert msgspec.json.decode(MACS.call("decodeUplink", octets))["output"]["data"] == expected.finalize().hex()


CCM = QuickJs(Limits()).load(
    Script(
        "ccm",
        """
const crypto = require('crypto');
function decodeUplink({ variables: { deciphers, key, nonce, data, associated, tag, length } }) {
  const octets = (text) => Buffer.from(text, 'hex');
  const make = deciphers ? crypto.createDecipheriv : crypto.createCipheriv;
  const cipher = make('aes-128-ccm', octets(key), octets(nonce), { authTagLength: length });
  cipher.setAAD(octets(associated), { plaintextLength: data.length / 2 });
  if (deciphers) cipher.setAuthTag(octets(tag));
  const said = Buffer.concat([cipher.update(octets(data)), cipher.final()]);
  return { data: said.toString('hex') + (deciphers ? '' : cipher.getAuthTag().toString('hex')) };
}
""",
    )
)


@settings(max_examples=60)
@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=7, max_size=13),
    st.binary(min_size=1, max_size=50),
    st.binary(max_size=40),
    st.sampled_from([4, 6, 8, 16]),
)
def test_authenticated_encryption_is_openssl_s(
    key: bytes, nonce: bytes, data: bytes, associated: bytes, length: int
) -> None:
    def said(**variables: object) -> dict[str, object]:
        given = {"key": key.hex(), "nonce": nonce.hex(), "associated": associated.hex(), "length": length}
        octets = msgspec.json.encode({"bytes": [], "recvTime": 0, "variables": given | variables}).decode()
        return msgspec.json.decode(CCM.call("decodeUplink", octets))

    expected = AESCCM(key, length).encrypt(nonce, data, associated)
    body, tag = expected[:-length], expected[-length:]

    assert said(deciphers=False, data=data.hex(), tag="")["output"] == {"data": expected.hex()}
    assert said(deciphers=True, data=body.hex(), tag=tag.hex())["output"] == {"data": data.hex()}
    forged = bytes([tag[0] ^ 1]) + tag[1:]
    assert "unable to authenticate" in str(said(deciphers=True, data=body.hex(), tag=forged.hex())["reason"])
