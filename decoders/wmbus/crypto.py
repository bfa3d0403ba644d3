"""The encryption of M-Bus: modes 5 and 7 of the transport layer, and that of the extended link layer.

A key is never in a message, whatever is wrong with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR
from cryptography.hazmat.primitives.cmac import CMAC

from decoders.canonical import MalformedPayload
from decoders.codec import UnopenedKey

BLOCK = 16
CLEAR = b"\x2f\x2f"  # With what every decrypted block begins.
_ENCRYPTION, _AUTHENTICATION = b"\x00", b"\x01"  # What a derived key is for, from the meter.
_POLYNOMIAL = 0x3D65  # CRC-16 of EN 13757.
_KEY_OPTION = "est une clé AES-128, 32 chiffres hexadécimaux"


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The keys of a device: one for all its meters, or one by meter id. They are not shown."""

    common: bytes | UnopenedKey | None
    by_meter: Mapping[str, bytes | UnopenedKey]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Keys":
        """Raises MalformedPayload for an option that is no key."""
        common: Any = options.get("key")
        by_meter: Any = options.get("keys", {})
        if not isinstance(by_meter, Mapping):
            raise MalformedPayload("l'option « keys » donne une clé pour chaque numéro de compteur")
        return cls(
            None if common is None else _key(common, "key"),
            {str(meter): _key(key, "keys") for meter, key in cast("Mapping[Any, Any]", by_meter).items()},
        )

    def has(self, meter_id: str) -> bool:
        """Whether there is one for this meter."""
        return self.common is not None or meter_id in self.by_meter

    def of_meter(self, meter_id: str) -> bytes:
        """Raises MalformedPayload when there is none, or none that opens."""
        key = self.by_meter.get(meter_id, self.common)
        if key is None:
            raise MalformedPayload(
                f"le compteur {meter_id} chiffre et on n'a pas sa clé : posez-la (clé de décodage du capteur)"
            )
        if isinstance(key, UnopenedKey):
            raise MalformedPayload(key.reason)
        return key


def _key(text: Any, option: str) -> bytes | UnopenedKey:
    if isinstance(text, UnopenedKey):
        return text
    try:
        key = bytes.fromhex(text)
    except (TypeError, ValueError):
        key = b""
    if len(key) != BLOCK:
        raise MalformedPayload(f"l'option « {option} » {_KEY_OPTION}")
    return key


def _decrypt_blocks(octets: bytes, blocks: int, key: bytes, vector: bytes) -> bytes:
    """The first `blocks` blocks in clear, and the rest as it is."""
    size = blocks * BLOCK
    if len(octets) < size:
        raise MalformedPayload(f"{blocks} blocs chiffrés annoncés, {len(octets)} octets reçus : {octets.hex()}")
    decryptor = Cipher(AES(key), CBC(vector)).decryptor()
    clear = decryptor.update(octets[:size]) + decryptor.finalize()
    if blocks and not clear.startswith(CLEAR):
        raise MalformedPayload("la clé de décodage n'ouvre pas ce télégramme")
    return clear + octets[size:]


def decrypt_mode_5(octets: bytes, blocks: int, address: bytes, access_number: int, key: bytes) -> bytes:
    """AES-128-CBC with the meter's key; the vector is its address and eight times the access number."""
    return _decrypt_blocks(octets, blocks, key, address + bytes((access_number,)) * 8)


def derive_key(purpose: bytes, counter: bytes, identification: bytes, key: bytes) -> bytes:
    """An ephemeral key (OMS volume 2, 9.5): CMAC of purpose, message counter, identification and padding."""
    return _cmac(key, purpose + counter + identification + bytes((7,)) * 7)


def decrypt_mode_7(
    octets: bytes,
    blocks: int,
    identification: bytes,
    counter: bytes,
    signed: bytes,
    code: bytes,
    key: bytes,
) -> bytes:
    """AES-128-CBC with a key that is derived for each message; `code` authenticates `signed`."""
    if code and not _cmac(derive_key(_AUTHENTICATION, counter, identification, key), signed).startswith(code):
        raise MalformedPayload("la clé de décodage n'authentifie pas ce télégramme")
    return _decrypt_blocks(octets, blocks, derive_key(_ENCRYPTION, counter, identification, key), bytes(BLOCK))


def decrypt_link_layer(sealed: bytes, nonce: bytes, key: bytes) -> bytes:
    """AES-128-CTR of the extended link layer: a checksum of two octets, then what it is of.

    `nonce` is address, communication control and session number; frame and block numbers start at zero.
    """
    decryptor = Cipher(AES(key), CTR(nonce.ljust(BLOCK, b"\0"))).decryptor()
    clear = decryptor.update(sealed) + decryptor.finalize()
    if int.from_bytes(clear[:2], "little") != crc(clear[2:]):
        raise MalformedPayload("la clé de décodage n'ouvre pas ce télégramme")
    return clear[2:]


def crc(octets: bytes) -> int:
    """CRC-16 of EN 13757-4, inverted."""
    register = 0
    for octet in octets:
        register ^= octet << 8
        for _ in range(8):
            register = (register << 1 ^ _POLYNOMIAL if register & 0x8000 else register << 1) & 0xFFFF
    return register ^ 0xFFFF


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()
