"""Keys and secrets at rest: the database holds them sealed for their owner, and never the key that opens them.

A sealed value opens for the owner that it was sealed for and for no other: a row that is given another's value has
nothing (decision 55). Values of before, AES key wrap (RFC 3394), name no owner; they open until a rotation has
left none of them, and are rejected and counted from then on (`registry.former_format`).
"""

import os
from collections.abc import Mapping
from hashlib import sha256
from hmac import digest
from typing import TYPE_CHECKING
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from prometheus_client import Counter

from core.runtime.keks import FormerFormat
from lorawan.crypto import WrongKek, unwrap_key, wrap_key

if TYPE_CHECKING:
    from core.runtime.settings import KeySettings

# The first octet of a sealed value, then nonce, ciphertext and tag.
FORMAT = b"\x01"
NONCE = 12
TAG = 16
OVERHEAD = len(FORMAT) + NONCE + TAG
# What is sealed has whole blocks of so many octets. So has an RFC 3394 value, and a sealed one never: its length
# tells them apart.
MULTIPLE = 8
FINGERPRINT = 16

FORMER_REJECTED = Counter(
    "territoire_keys_former_rejected_total",
    "Values of the former format (RFC 3394) that were not opened, since all had been sealed for their owners",
)


def device_owner(dev_eui: bytes, kind: str) -> str:
    """The owner of a device's own key of this kind: `app_key`, `decoding_key/<meter>`."""
    return f"device/{dev_eui.hex()}/{kind}"


def session_owner(dev_eui: bytes, dev_addr: bytes, kind: str) -> str:
    """The owner of a session's key of this kind: `nwk_s_key`, `app_s_key`; `keys` for the fingerprint of both."""
    return f"session/{dev_eui.hex()}/{dev_addr.hex()}/{kind}"


def row_owner(table: str, sealed_for: UUID, kind: str = "secret") -> str:
    """The owner of a secret of a row that the field has no name for: `sealed_for` is drawn once for each row."""
    return f"{table}/{sealed_for}/{kind}"


class _Kek:
    """One key-encryption key, and what is derived from it."""

    __slots__ = ("_fingerprint_key", "_octets", "_sealer")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._sealer = AESGCMSIV(HKDF(SHA256(), 32, None, b"territoire seal 1").derive(octets))
        self._fingerprint_key = HKDF(SHA256(), 32, None, b"territoire fingerprint 1").derive(octets)

    def seal(self, key: bytes, owner: str) -> bytes:
        nonce = os.urandom(NONCE)
        return FORMAT + nonce + self._sealer.encrypt(nonce, key, owner.encode())

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        if not is_sealed_for_owner(sealed):
            return unwrap_key(self._octets, sealed)
        try:
            return self._sealer.decrypt(sealed[1 : 1 + NONCE], sealed[1 + NONCE :], owner.encode())
        except InvalidTag as wrong:
            raise WrongKek(f"a value of {len(sealed)} octets does not open for {owner}") from wrong

    def fingerprint(self, owner: str, keys: bytes) -> bytes:
        return digest(self._fingerprint_key, owner.encode() + b"\0" + keys, sha256)[:FINGERPRINT]

    def wrap(self, key: bytes) -> bytes:
        return wrap_key(self._octets, key)


class KeyWrap:
    """The key-encryption keys of this installation: one seals, each opens; they never show in a representation."""

    def __init__(
        self,
        kek_id: str,
        kek: bytes,
        former: Mapping[str, bytes] | None = None,
        former_format: FormerFormat | None = None,
    ) -> None:
        self.kek_id = kek_id
        self.former_format = former_format or FormerFormat()
        self._current = _Kek(kek)
        others = {known: _Kek(octets) for known, octets in (former or {}).items() if known != kek_id}
        self._keks = {kek_id: self._current, **others}

    def __repr__(self) -> str:
        return f"KeyWrap({', '.join(self._keks)})"

    @property
    def kek_ids(self) -> tuple[str, ...]:
        """The key-encryption keys that are known, first the one that seals."""
        return tuple(self._keks)

    def wrap(self, key: bytes, owner: str) -> bytes:
        """The key as the database may hold it, for this owner alone; `key` has a multiple of eight octets."""
        if len(key) % MULTIPLE or not key:
            raise ValueError(f"{len(key)} octets are no multiple of {MULTIPLE}")
        return self._current.seal(key, owner)

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        """The key that was sealed for this owner, or wrapped before there were owners.

        Each key-encryption key is tried: `kek_id` beside a value says how much is left to rotate, and decides
        nothing.

        Raises:
            WrongKek: none of the key-encryption keys opens it for this owner, the octets were altered, or it names
                no owner, and nothing is left that does not.
        """
        if self.former_format.is_rejected and not is_sealed_for_owner(wrapped):
            FORMER_REJECTED.inc()
            raise WrongKek(
                f"a value of {len(wrapped)} octets for {owner} names no owner, and none is left that may"
            )
        for kek in self._keks.values():
            try:
                return kek.unseal(wrapped, owner)
            except (WrongKek, ValueError):  # ValueError: no length that key wrap has.
                continue
        raise WrongKek(
            f"a wrapped value of {len(wrapped)} octets does not open for {owner} with {', '.join(self._keks)}"
        )

    def opens(self, wrapped: bytes, owner: str) -> bool:
        """Whether one of these keys opens these octets for this owner."""
        try:
            self.unwrap(wrapped, owner)
        except WrongKek:
            return False
        return True

    def fingerprint(self, owner: str, *keys: bytes) -> bytes:
        """The same for the same keys of the same owner, and of no use to who has not the key-encryption key."""
        return self._current.fingerprint(owner, b"".join(keys))

    def fingerprints(self, owner: str, octets: bytes) -> list[bytes]:
        """`fingerprint` under each key-encryption key that is known: it may have been made under a former one."""
        return [kek.fingerprint(owner, octets) for kek in self._keks.values()]

    def equal_to(self, owner: str, *keys: bytes) -> list[bytes]:
        """Every fingerprint, and every RFC 3394 value, that these keys of this owner may have in the database."""
        joined = b"".join(keys)
        fingerprints = [kek.fingerprint(owner, joined) for kek in self._keks.values()]
        if self.former_format.is_rejected:
            return fingerprints
        return fingerprints + [b"".join(map(kek.wrap, keys)) for kek in self._keks.values()]

    def wrap_text(self, secret: str, owner: str) -> bytes:
        """A password or an address; zeros fill it up, so it holds no NUL."""
        octets = secret.encode()
        length = max(2 * MULTIPLE, -(-len(octets) // MULTIPLE) * MULTIPLE)
        return self.wrap(octets.ljust(length, b"\0"), owner)

    def wrap_octets(self, octets: bytes, owner: str) -> bytes:
        """Any octets; their length goes before them, and zeros fill them up."""
        whole = len(octets).to_bytes(MULTIPLE) + octets
        return self.wrap(whole.ljust(-(-len(whole) // MULTIPLE) * MULTIPLE, b"\0"), owner)

    def unwrap_octets(self, wrapped: bytes, owner: str) -> bytes:
        """The octets that `wrap_octets` sealed; raises WrongKek as `unwrap` does."""
        whole = self.unwrap(wrapped, owner)
        return whole[MULTIPLE : MULTIPLE + int.from_bytes(whole[:MULTIPLE])]

    def wrap_secret(self, secret: str | None, owner: str) -> tuple[bytes | None, str | None]:
        """A password as `wrap_text` has it and the id of the key that sealed it; of None, None and None."""
        return (None, None) if secret is None else (self.wrap_text(secret, owner), self.kek_id)

    def unwrap_text(self, wrapped: bytes, owner: str) -> str:
        """The password that was sealed; raises WrongKek as `unwrap` does."""
        return self.unwrap(wrapped, owner).rstrip(b"\0").decode()


def is_sealed_for_owner(wrapped: bytes) -> bool:
    """Whether this is a sealed value; otherwise it is one of AES key wrap, which names no owner."""
    return len(wrapped) % MULTIPLE == OVERHEAD % MULTIPLE and wrapped.startswith(FORMAT)


def key_wrap_of(settings: "KeySettings") -> KeyWrap:
    """The key-encryption keys of a process, as its settings have them."""
    keks = settings.keks
    return KeyWrap(keks.kek_id, keks.current, keks.former, keks.former_format)
