"""A message of another LNS, and the uplink or report that an adapter reads from it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.messages.uplinks import Reception
from core.model.downlinks import DownlinkReason

NO_F_PORT = -1


@dataclass(frozen=True, slots=True)
class LnsMessage:
    """One message of an LNS as it came.

    `topic` is that of MQTT, or what follows the source's own address in HTTP. `headers` have lower-case names.
    """

    body: bytes
    topic: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class LnsUplink:
    """An uplink as another LNS describes it. Times are microseconds since 1970 UTC.

    `lns_time_us` is when that LNS had it, on its own clock; `gateway_time_us` when a gateway received it, on the
    gateway's. `stated_time` is the time as it was written: with the payload it names a message that has neither
    counter nor id.
    """

    dev_eui: bytes
    f_cnt: int | None  # None: a bearer without counter.
    f_port: int  # NO_F_PORT: the frame had none.
    payload: bytes
    confirmed: bool = False
    message_id: str = ""
    stated_time: str = ""
    lns_time_us: int | None = None
    gateway_time_us: int | None = None
    is_replay: bool = False  # Kept for a while by a gateway or by the LNS, which says so.
    frequency: int = 0  # Hz; 0: not stated.
    spreading_factor: int = 0
    bandwidth: int = 0  # Hz
    receptions: tuple[Reception, ...] = ()
    address: str = ""  # How their LNS addresses the device in a downlink; "": by its DevEUI.


@dataclass(frozen=True, slots=True)
class DownlinkReport:
    """A report of another LNS about a downlink of ours, whose id there is `item`.

    `state` is a downlink's: sending (in their queue), sent, acknowledged, failed or expired; or `unacknowledged`.
    `detail` is their text.
    """

    item: str
    state: str
    reason: DownlinkReason | None = None
    detail: str | None = None
    time_us: int | None = None
    f_cnt_down: int | None = None
    gateway_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A valid message that is no uplink: a join, an acknowledgement, a simulation."""

    kind: str


class Unreadable(ValueError):
    """No message of this kind of source. `reason` labels the metric, the message is French for people."""

    def __init__(self, reason: str, french: str) -> None:
        super().__init__(french)
        self.reason = reason
        self.french = french
