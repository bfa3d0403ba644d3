"""The cryptography of LoRaWAN 1.0.x data frames, and the wrapping of keys at rest."""

from dataclasses import dataclass, field
from enum import IntEnum
from hmac import compare_digest
from struct import Struct

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from lorawan.frame import MIC_LENGTH
from lorawan.identifiers import DevAddr

KEY_LENGTH = 16
BLOCK = 16

# B0 (LoRaWAN L2 1.0.4, section 4.4): 49, four zeros, direction, DevAddr, FCnt, zero, length of the message.
_B0 = Struct("<BIB4sIBB")
# A_i (section 4.3.3) without its last octet, the number of the block: 01, zeros, direction, DevAddr, FCnt, zero.
_A = Struct("<BIB4sIB")
# For n blocks: "", 01, 02 ... n. Joined by the prefix, it is A_1 to A_n in one call.
_MAX_BLOCKS = 16
_BLOCK_NUMBERS = tuple((b"", *(bytes((i,)) for i in range(1, n + 1))) for n in range(_MAX_BLOCKS + 1))


class Direction(IntEnum):
    """Dir of B0 and A_i."""

    UP = 0
    DOWN = 1


class WrongKek(ValueError):
    """The wrapped key was not made with this key-encryption key, or it was altered since."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The two keys of a 1.0.x session, 16 octets each; they never show in a representation or a log."""

    nwk_s_key: bytes = field(repr=False)
    app_s_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for name, key in (("NwkSKey", self.nwk_s_key), ("AppSKey", self.app_s_key)):
            if len(key) != KEY_LENGTH:
                raise ValueError(f"{name} has {len(key)} octets, not {KEY_LENGTH}")


class SessionCipher:
    """Checks, signs, encrypts and decrypts the frames of one session.

    It holds the prepared CMAC and AES contexts (about 2 kB), so keep one per session: a fresh one costs five
    times a frame. Not to be shared between threads.
    """

    __slots__ = ("_app_encryptor", "_cmac", "_nwk_encryptor", "_nwk_s_key")

    def __init__(self, keys: SessionKeys) -> None:
        self._nwk_s_key = keys.nwk_s_key
        self._cmac = CMAC(AES(keys.nwk_s_key))
        self._app_encryptor = _encryptor(keys.app_s_key)
        self._nwk_encryptor: CipherContext | None = None  # FPort 0 is rare: made when it is first needed.

    def verify_uplink(self, phy_payload: bytes, dev_addr: DevAddr, f_cnt: int) -> bool:
        """Whether the MIC of an uplink is right for this 32-bit counter."""
        expected = self._mic(0, dev_addr, f_cnt, phy_payload[:-MIC_LENGTH])
        return compare_digest(expected, phy_payload[-MIC_LENGTH:])

    def verify_downlink(self, phy_payload: bytes, dev_addr: DevAddr, f_cnt: int) -> bool:
        """Whether the MIC of a downlink is right for this 32-bit counter: what a device asks."""
        expected = self._mic(1, dev_addr, f_cnt, phy_payload[:-MIC_LENGTH])
        return compare_digest(expected, phy_payload[-MIC_LENGTH:])

    def uplink_mic(self, message: bytes, dev_addr: DevAddr, f_cnt: int) -> bytes:
        """The four octets that follow `message` (MHDR to FRMPayload, encrypted) in an uplink."""
        return self._mic(0, dev_addr, f_cnt, message)

    def downlink_mic(self, message: bytes, dev_addr: DevAddr, f_cnt: int) -> bytes:
        """The four octets that follow `message` (MHDR to FRMPayload, encrypted) in a downlink."""
        return self._mic(1, dev_addr, f_cnt, message)

    def crypt(self, direction: Direction, dev_addr: DevAddr, f_cnt: int, f_port: int, payload: bytes) -> bytes:
        """Encrypts or decrypts an FRMPayload of at most 256 octets: the same operation (section 4.3.3).

        The key is AppSKey, or NwkSKey for FPort 0.
        """
        size = len(payload)
        if not size:
            return b""
        prefix = _A.pack(1, 0, direction, dev_addr[::-1], f_cnt, 0)
        blocks = prefix.join(_BLOCK_NUMBERS[(size + BLOCK - 1) // BLOCK])
        stream = (self._app_encryptor if f_port else self._commands_encryptor()).update(blocks)
        return (int.from_bytes(payload) ^ int.from_bytes(stream[:size])).to_bytes(size)

    def _mic(self, direction: int, dev_addr: DevAddr, f_cnt: int, message: bytes) -> bytes:
        cmac = self._cmac.copy()
        cmac.update(_B0.pack(0x49, 0, direction, dev_addr[::-1], f_cnt, 0, len(message)) + message)
        return cmac.finalize()[:MIC_LENGTH]

    def _commands_encryptor(self) -> CipherContext:
        if self._nwk_encryptor is None:
            self._nwk_encryptor = _encryptor(self._nwk_s_key)
        return self._nwk_encryptor


def wrap_key(kek: bytes, key: bytes) -> bytes:
    """The key as it is stored: AES key wrap (RFC 3394), eight octets longer; `kek` has 16, 24 or 32 octets."""
    return aes_key_wrap(kek, key)


def unwrap_key(kek: bytes, wrapped: bytes) -> bytes:
    """The key that `wrap_key` wrapped.

    Raises:
        WrongKek: another key-encryption key wrapped it, or the octets were altered.
    """
    try:
        return aes_key_unwrap(kek, wrapped)
    except InvalidUnwrap as wrong:
        raise WrongKek(
            f"a wrapped key of {len(wrapped)} octets does not open with this key-encryption key"
        ) from wrong


def cmac_mic(key: bytes, message: bytes) -> bytes:
    """The first four octets of AES-CMAC over `message`: the MIC of join frames (section 6.2.4)."""
    cmac = CMAC(AES(key))
    cmac.update(message)
    return cmac.finalize()[:MIC_LENGTH]


def aes_encrypt(key: bytes, blocks: bytes) -> bytes:
    """AES-ECB encryption of whole blocks: key derivation, and a device opening its join-accept."""
    return _encryptor(key).update(blocks)


def aes_decrypt(key: bytes, blocks: bytes) -> bytes:
    """AES-ECB decryption of whole blocks, by which a network *encrypts* a join-accept (section 6.2.5)."""
    return Cipher(AES(key), ECB()).decryptor().update(blocks)  # noqa: S305  # The specification's own mode.


def _encryptor(key: bytes) -> CipherContext:
    return Cipher(AES(key), ECB()).encryptor()  # noqa: S305  # ECB of counter blocks is the specification's CTR.
