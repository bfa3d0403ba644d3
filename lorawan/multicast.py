"""Which gateways reach all members of a multicast group, and what they send. Pure.

All members share one address, one pair of keys and one counter, and listen with one set of parameters; a frame is
the same through every gateway and at every repetition, so that a member that has it ignores what comes after.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from lorawan.airtime import Priority
from lorawan.crypto import SessionCipher
from lorawan.identifiers import DevAddr
from lorawan.session import Session, build_downlink
from lorawan.windows import COMFORTABLE_MARGIN_DB

# What lights streets in an emergency goes out so often at least: of 3,900 members that lose one frame in ten, by
# noise and their own uplinks, two repetitions leave 39 without it, five none.
EMERGENCY_REPEATS = 5


class MemberReception(Struct, frozen=True, gc=False):
    """A gateway that received a member's last uplink, and by how much (dB over what its data rate needs)."""

    gateway_id: bytes
    margin: float


def gateways_for(members: Mapping[int, Iterable[MemberReception]]) -> tuple[bytes, ...]:
    """Few gateways that reach every member that was ever received, those that reach most first.

    A member is reached by the gateway that received it best, and by any that received it well. The fewest would
    take a search; taking the one that adds most, again and again, is at most a logarithm away from it.
    """
    reached: dict[bytes, set[int]] = {}
    for member, hearings in members.items():
        receptions = list(hearings)
        best = max((hearing.margin for hearing in receptions), default=0.0)
        for hearing in receptions:
            if hearing.margin >= min(best, COMFORTABLE_MARGIN_DB):
                reached.setdefault(hearing.gateway_id, set()).add(member)
    chosen: list[bytes] = []
    left = {member for of_gateway in reached.values() for member in of_gateway}
    while left:
        gateway_id = min(reached, key=lambda candidate: (-len(reached[candidate] & left), candidate))
        left -= reached[gateway_id]
        chosen.append(gateway_id)
    return tuple(chosen)


def repeats_of(repeats: int, priority: int) -> int:
    """How often each gateway transmits a message of this priority to a group with so many repetitions."""
    return max(repeats, EMERGENCY_REPEATS) if priority == Priority.JOIN_OR_ACK else repeats


def build_multicast(dev_addr: DevAddr, cipher: SessionCipher, f_cnt: int, *, f_port: int, payload: bytes) -> bytes:
    """The PHYPayload: unconfirmed, without commands, as class C multicast has to be.

    Raises:
        ValueError: the frame would be too long.
    """
    return build_downlink(Session(dev_addr), cipher, f_cnt, f_port=f_port, payload=payload)
