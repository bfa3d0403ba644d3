"""Whether a DevNonce is fresh, and the JoinNonce that answers it (LoRaWAN L2 1.0.3 and 1.0.4, section 6.2)."""

from collections.abc import Container
from enum import Enum, StrEnum

MAX_JOIN_NONCE = 0xFF_FFFF
_FIRST_INCREASING = (1, 0, 4)


class DevNoncePolicy(Enum):
    """How devices of a version choose their DevNonce."""

    RANDOM = "random"
    """Up to 1.0.3: drawn at random, so every used one is remembered."""
    INCREASING = "increasing"
    """From 1.0.4: a counter that survives power cuts."""


def policy_of(mac_version: str) -> DevNoncePolicy:
    """The policy of a LoRaWAN version: "1.0.0" to "1.0.4"."""
    version = tuple(int(part) for part in mac_version.split("."))
    return DevNoncePolicy.INCREASING if version >= _FIRST_INCREASING else DevNoncePolicy.RANDOM


class DevNonceVerdict(StrEnum):
    """What becomes of a join-request whose MIC is right; only FRESH is answered."""

    FRESH = "fresh"
    USED = "used"
    NOT_INCREASING = "not_increasing"


def judge_dev_nonce(
    dev_nonce: int,
    used: Container[int],
    *,
    policy: DevNoncePolicy = DevNoncePolicy.RANDOM,
    highest: int | None = None,
) -> DevNonceVerdict:
    """Whether a join with this DevNonce may open a session (docs/protocols.md, row 18).

    Args:
        dev_nonce: from a join-request whose MIC was verified.
        used: the nonces that this device has used with the same JoinEUI.
        policy: that of the device's LoRaWAN version.
        highest: the highest of `used`; only `INCREASING` reads it.
    """
    if dev_nonce in used:
        return DevNonceVerdict.USED
    if policy is DevNoncePolicy.INCREASING and highest is not None and dev_nonce <= highest:
        return DevNonceVerdict.NOT_INCREASING
    return DevNonceVerdict.FRESH


def next_join_nonce(last: int | None) -> int:
    """The JoinNonce of the next accept: strictly increasing from 1 for ever (docs/protocols.md, row 19).

    Raises:
        OverflowError: all 24 bits are used up; the device needs another AppKey.
    """
    nonce = (last or 0) + 1
    if nonce > MAX_JOIN_NONCE:
        raise OverflowError("JoinNonce is used up: the device needs another AppKey")
    return nonce
