"""What a campaign will take: which gateway reaches which circuit, how long each transmits, and when all is over.

Pure: what is known of circuits, gateways and the last hour are arguments.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any, NamedTuple

from decoders.codec import EncodedCommand
from lighting.commands import GROUP_REPORTS_WITHIN
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
# Who has not reported with its group by then is sent its own frame.
UNHEARD_AFTER_US = GROUP_REPORTS_WITHIN // timedelta(microseconds=1)
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
class PlannedGroup:
    """Circuits that one frame to a multicast group commands at each gateway that reaches any of them."""

    members: frozenset[int]
    airtime_us: int


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
    groups: Sequence[PlannedGroup] = (),
) -> list[GatewayShare]:
    """What each gateway has to send, has left, and when it will have ended; the last to end first.

    What a group saves is counted: one frame at each gateway, and later those of who will not have heard it.

    Args:
        targets: number, gateway, time on air and whether it is of the canary, of each.
        neighbours: as `neighbours_of`.
        sent: what campaigns sent in the last hour: gateway, start, time on air.
        measured_loss: of each gateway the measured share of lost commands.
        now_us: when the first frame may go out.
        is_emergency: with all of the band, and without a canary.
        groups: those of the circuits that follow the canary.
    """
    pacer = Pacer(neighbours, EMERGENCY_SHARE if is_emergency else SHARE)
    pacer.restore(sent)
    budgets = {gateway: pacer.budget(gateway, now_us) for _, gateway, _, _ in targets}
    canary = [target for target in targets if target[3]]
    ends = predict(pacer, now_us, _frames(canary), measured_loss, loss=USUAL_LOSS)
    begin_us = max([now_us, *ends.values()])
    in_group: set[int] = set()
    late: list[tuple[int, str, int, bool]] = []  # Of groups, those that are to be sent their own.
    airtimes: dict[str, int] = defaultdict(int)
    for group in groups:
        members = [target for target in targets if not target[3] and target[0] in group.members]
        at = {gateway for _, gateway, _, _ in members}
        if len(members) > 1 and all(pacer.budget(one, begin_us).left_us >= group.airtime_us for one in at):
            in_group.update(number for number, _, _, _ in members)
            pacer.restore((gateway, begin_us, group.airtime_us) for gateway in at)
            for gateway in at:
                ends[gateway] = pacer.busy_until_us(gateway)
                airtimes[gateway] += group.airtime_us
                of_gateway = [target for target in members if target[1] == gateway]
                unheard = ceil(len(of_gateway) * measured_loss.get(gateway, USUAL_LOSS))
                late += of_gateway[:unheard]
    others = [target for target in targets if not target[3] and target[0] not in in_group]
    ends |= predict(pacer, begin_us, _frames(others), measured_loss, loss=USUAL_LOSS)
    if late:
        ends |= predict(pacer, begin_us + UNHEARD_AFTER_US, _frames(late), measured_loss, loss=USUAL_LOSS)
    for number, gateway, airtime_us, _ in targets:
        airtimes[gateway] += 0 if number in in_group else airtime_us
    shares = [
        GatewayShare(
            gateway,
            count,
            airtimes[gateway],
            budgets[gateway].used_us,
            budgets[gateway].left_us,
            measured_loss.get(gateway, USUAL_LOSS),
            ends[gateway],
        )
        for gateway, count in Counter(gateway for _, gateway, _, _ in targets).items()
    ]
    return sorted(shares, key=lambda share: (-share.ends_us, share.gateway))


def _frames(targets: Iterable[tuple[int, str, int, bool]]) -> list[PacedFrame]:
    return [PacedFrame(number, gateway, airtime_us) for number, gateway, airtime_us, _ in targets]


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
