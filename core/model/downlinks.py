"""A downlink's states, how they follow each other, and the reasons for them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DownlinkState(StrEnum):
    """Where a downlink row stands. Nothing follows the last four."""

    QUEUED = "queued"
    """Waits for its device, its turn or its instant."""
    SENDING = "sending"
    """Asked of a gateway; or in the queue of the LNS that carries it."""
    SENT = "sent"
    """The gateway reported that it transmitted it (TX_ACK), or the LNS did. Final, unless it is confirmed."""
    ACKNOWLEDGED = "acknowledged"
    """The device acknowledged it: confirmed downlinks only."""
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[DownlinkState, frozenset[DownlinkState]] = {
    DownlinkState.QUEUED: frozenset(
        {
            DownlinkState.SENDING,  # Network or intake takes it.
            DownlinkState.SENT,  # A request whose owner was thought to be gone has been answered after all.
            DownlinkState.FAILED,  # As before; or the source that carries it is removed.
            DownlinkState.EXPIRED,
            DownlinkState.CANCELLED,
        }
    ),
    DownlinkState.SENDING: frozenset(
        {
            DownlinkState.QUEUED,  # No gateway took it, or its owner is gone: it is asked for again.
            DownlinkState.SENT,
            DownlinkState.ACKNOWLEDGED,  # The device was faster than the gateway's or the LNS's report.
            DownlinkState.FAILED,
            DownlinkState.EXPIRED,  # The LNS that carries it has dropped it, or reports nothing.
        }
    ),
    DownlinkState.SENT: frozenset(
        {
            DownlinkState.ACKNOWLEDGED,
            DownlinkState.QUEUED,
            DownlinkState.FAILED,
        }  # Again, or given up: no ACK came.
    ),
    DownlinkState.ACKNOWLEDGED: frozenset(),
    DownlinkState.FAILED: frozenset(),
    DownlinkState.EXPIRED: frozenset(),
    DownlinkState.CANCELLED: frozenset(),
}


class ForbiddenTransition(ValueError):
    """A state that cannot follow another."""

    def __init__(self, before: DownlinkState, after: DownlinkState) -> None:
        super().__init__(f"a downlink does not go from {before} to {after}")


def check_transition(before: DownlinkState, after: DownlinkState) -> None:
    """Raises ForbiddenTransition unless a row in `before` may become or stay `after`."""
    if before is not after and after not in TRANSITIONS[before]:
        raise ForbiddenTransition(before, after)


class DownlinkReason(StrEnum):
    """Why a downlink waits, or how it ended."""

    # A gateway's TX_ACK.
    TOO_LATE = "TOO_LATE"
    TOO_EARLY = "TOO_EARLY"
    COLLISION_PACKET = "COLLISION_PACKET"
    COLLISION_BEACON = "COLLISION_BEACON"
    TX_FREQ = "TX_FREQ"
    TX_POWER = "TX_POWER"
    GPS_UNLOCKED = "GPS_UNLOCKED"
    # The bridge.
    NO_ACK = "NO_ACK"
    DUTY_CYCLE_OVERFLOW = "DUTY_CYCLE_OVERFLOW"
    # Network.
    GATEWAY_UNREACHABLE = "GATEWAY_UNREACHABLE"
    GATEWAY_NO_ANSWER = "GATEWAY_NO_ANSWER"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    SESSION_CLOSED = "SESSION_CLOSED"
    DATABASE_AWAY = "DATABASE_AWAY"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    RESTARTED = "RESTARTED"
    DEVICE_NO_ACK = "DEVICE_NO_ACK"
    DEVICE_SILENT = "DEVICE_SILENT"
    NOT_AFTER = "NOT_AFTER"
    # Messages to multicast groups.
    NO_MEMBER_HEARD = "NO_MEMBER_HEARD"
    WRONG_KEK = "WRONG_KEK"
    NO_GATEWAY = "NO_GATEWAY"
    SOME_GATEWAYS = "SOME_GATEWAYS"
    # Lighting. In lower case since its first version.
    SUPERSEDED = "superseded"
    # A person.
    WITHDRAWN = "WITHDRAWN"
    # Another LNS carries it.
    LNS_QUEUED = "LNS_QUEUED"
    LNS_QUEUED_UNTIL_UPLINK = "LNS_QUEUED_UNTIL_UPLINK"
    LNS_DEVICE_UNHEARD = "LNS_DEVICE_UNHEARD"
    LNS_UNREACHABLE = "LNS_UNREACHABLE"
    LNS_NOT_LISTENING = "LNS_NOT_LISTENING"
    LNS_PUBLISH_REFUSED = "LNS_PUBLISH_REFUSED"
    LNS_ADDRESS_REFUSED = "LNS_ADDRESS_REFUSED"
    LNS_ANSWERED = "LNS_ANSWERED"
    """What it answered instead of taking it is the detail: the HTTP status and its own words."""
    LNS_REPORTED = "LNS_REPORTED"
    """It took it and failed; why is the detail, in its own words."""
    LNS_EXPIRED = "LNS_EXPIRED"
    LNS_NO_REPORT = "LNS_NO_REPORT"
    F_CNT_EXHAUSTED = "F_CNT_EXHAUSTED"
    SOURCE_TAKES_NO_DOWNLINKS = "SOURCE_TAKES_NO_DOWNLINKS"
    SOURCE_NEEDS_MQTT = "SOURCE_NEEDS_MQTT"
    SOURCE_INCOMPLETE = "SOURCE_INCOMPLETE"
    SOURCE_REMOVED = "SOURCE_REMOVED"

    OTHER = "other"
    """None of these: the detail has the words."""


def reason_of(word: str) -> tuple[DownlinkReason, str | None]:
    """The reason of this code, and its detail: the word itself where it is no code of ours."""
    try:
        return DownlinkReason(word), None
    except ValueError:
        return DownlinkReason.OTHER, word


@dataclass(frozen=True, slots=True)
class Downlink:
    """One application downlink and where it stands.

    `reason` is the code of a DownlinkReason; `detail` is what somebody else said about it. With `lns_source_id`
    another LNS carries it: `sending` is in its queue, `sent` is what it reports. With `keys_of_group` it gives a
    multicast group's keys, which no row holds: `payload` is empty.
    """

    id: int
    tenant_id: int
    device_id: int
    slot: int
    f_port: int
    payload: bytes
    confirmed: bool
    priority: int
    not_after: datetime
    state: str
    reason: str | None
    detail: str | None
    attempts: int
    f_cnt_down: int | None
    gateway_id: bytes | None
    lns_source_id: int | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    keys_of_group: int | None = None


@dataclass(frozen=True, slots=True)
class DueDownlink:
    """A row whose time has come. `waiting` counts the device's due rows, this one included."""

    id: int
    device_id: int
    slot: int
    f_port: int
    payload: bytes
    confirmed: bool
    priority: int
    attempts: int
    not_after: datetime
    created_at: datetime
    waiting: int
    keys_of_group: int | None = None
    """The payload is made of this multicast group's sealed keys when it is framed."""
    is_paced: bool = False
    """A campaign of lighting has given it its turn at a gateway."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether our network can send a device something."""

    device_class: str
    activation: str
    enabled: bool
    has_session: bool
    heard_at: datetime | None  # Under the newest session in use; None: the network may not speak first.
    rx1_delay: int | None  # Seconds.
    gateways: int  # How many received the last uplink.
    gateways_online: int  # Of these.


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row that is not done with."""

    id: int
    state: str  # queued, sending, or sent and to be acknowledged
    priority: int
    not_before: datetime | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Preflight:
    """All that decides when a device's next row goes out; `rows` in the order in which they will."""

    reach: Reach
    rows: tuple[OpenRow, ...]
