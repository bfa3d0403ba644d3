"""What a campaign will take: which gateway reaches which circuit, how long each transmits, and when all is over.

Pure: what is known of circuits, gateways and the last hour are arguments.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from decoders.codec import EncodedCommand
from lighting.octets import QUESTION, Octets
from lighting.pacing import EMERGENCY_SHARE, SHARE, PacedFrame, Pacer, predict
from lorawan.airtime import downlink_airtime_us
from lorawan.regions import EU868

# MHDR 1, FHDR 7, FPort 1, MIC 4.
FRAME_OVERHEAD = 13
# Where another network's server decides the data rate, or no session says it: the slowest.
SLOWEST = 0
# A command or its echo is lost as often where nothing was measured: 5 % each way.
USUAL_LOSS = 0.1
UNKNOWN_GATEWAY = "inconnue"


class Reach(NamedTuple):
    """By which gateways a device was last heard, the best first; the data rate at which it listens, None: unknown.

    `source_id`: of the server of another network that serves it.
    """

    gateways: Sequence[str]
    rx2_data_rate: int | None
    source_id: int | None

    @property
    def gateway(self) -> str:
        """What paces its frames."""
        if self.gateways:
            return self.gateways[0]
        return UNKNOWN_GATEWAY if self.source_id is None else f"serveur {self.source_id}"


@dataclass(frozen=True, slots=True)
class GatewayShare:
    """What a campaign asks of a gateway. Microseconds; `ends_us` since 1970."""

    gateway: str
    targets: int
    airtime_us: int
    used_us: int
    left_us: int
    loss: float
    ends_us: int


def command_airtime_us(octets: Octets, action: str, reach: Reach) -> int:
    """How long a command is on air, with the question that proves it where the device does not answer it."""
    uses = (action,) if octets.ends_itself else (action, QUESTION)
    return sum(frame_airtime_us(octets.frames[use], reach.rx2_data_rate) for use in uses if use in octets.frames)


def frame_airtime_us(frame: EncodedCommand, data_rate: int | None) -> int:
    """How long a message of lighting is on air; None: nobody knows at which data rate."""
    rate = EU868.data_rates[SLOWEST if data_rate is None else data_rate]
    return downlink_airtime_us(FRAME_OVERHEAD + len(frame.payload), rate)


def neighbours_of(reached: Sequence[Reach]) -> dict[str, list[str]]:
    """Of each gateway those that hear a device that it hears, too."""
    found: dict[str, set[str]] = defaultdict(set)
    for reach in reached:
        for gateway in reach.gateways:
            found[gateway].update(other for other in reach.gateways if other != gateway)
    return {gateway: sorted(others) for gateway, others in sorted(found.items())}


def shares_of(
    targets: Sequence[tuple[int, str, int, bool]],
    neighbours: Mapping[str, Sequence[str]],
    sent: Sequence[tuple[str, int, int]],
    measured_loss: Mapping[str, float],
    now_us: int,
    *,
    is_emergency: bool,
) -> list[GatewayShare]:
    """What each gateway has to send, has left, and when it will have ended; the last to end first.

    Args:
        targets: number, gateway, time on air and whether it is of the canary, of each.
        neighbours: as `neighbours_of`.
        sent: what campaigns sent in the last hour: gateway, start, time on air.
        measured_loss: of each gateway the measured share of lost commands.
        now_us: when the first frame may go out.
        is_emergency: with all of the band, and without a canary.
    """
    pacer = Pacer(neighbours, EMERGENCY_SHARE if is_emergency else SHARE)
    pacer.restore(sent)
    budgets = {gateway: pacer.budget(gateway, now_us) for _, gateway, _, _ in targets}
    parts = [[target for target in targets if target[3]], [target for target in targets if not target[3]]]
    ends: dict[str, int] = {}
    begin_us = now_us
    for part in parts:
        frames = [PacedFrame(number, gateway, airtime_us) for number, gateway, airtime_us, _ in part]
        ends |= predict(pacer, begin_us, frames, measured_loss, loss=USUAL_LOSS)
        begin_us = max([begin_us, *ends.values()])
    of_gateway: dict[str, list[int]] = defaultdict(list)
    for _, gateway, airtime_us, _ in targets:
        of_gateway[gateway].append(airtime_us)
    shares = [
        GatewayShare(
            gateway,
            len(airtimes),
            sum(airtimes),
            budgets[gateway].used_us,
            budgets[gateway].left_us,
            measured_loss.get(gateway, USUAL_LOSS),
            ends[gateway],
        )
        for gateway, airtimes in of_gateway.items()
    ]
    return sorted(shares, key=lambda share: (-share.ends_us, share.gateway))


def targets_of(
    octets: Mapping[int, Octets], reached: Mapping[int, Reach], action: str
) -> list[tuple[int, str, int, dict[str, Any]]]:
    """Number, gateway, time on air and the octets to keep, of each circuit."""
    nothing_known = Reach((), None, None)
    found: list[tuple[int, str, int, dict[str, Any]]] = []
    for number, given in sorted(octets.items()):
        reach = reached.get(number, nothing_known)
        found.append((number, reach.gateway, command_airtime_us(given, action, reach), given.as_json()))
    return found
