"""How many of a device's uplinks were sent and received, by FCnt. Pure.

Frames that fell into an outage of the device's gateways, of the bridge or of the platform are not the device's:
they count neither as sent nor as lost.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import NamedTuple

# After an outage gateways take so long to be connected again, their stations' TLS included.
RECONNECTED_WITHIN = timedelta(minutes=1)

# When something was away that a device's frames pass through.
Span = tuple[datetime, datetime]


class CountedUplink(NamedTuple):
    """An uplink that was received, with the session in which its FCnt counts."""

    at: datetime
    session: int | None
    f_cnt: int


class SentAndReceived(NamedTuple):
    """Uplinks from the first to the last that was received of each session: sent at all, and received of them."""

    sent: int
    received: int


def sent_and_received(frames: Sequence[CountedUplink], outages: Sequence[Span] = ()) -> SentAndReceived:
    """What FCnt says of these uplinks; `frames` in the order of time."""
    counted: dict[int | None, dict[int, datetime]] = {}
    for frame in frames:
        counted.setdefault(frame.session, {}).setdefault(frame.f_cnt, frame.at)
    away = _joined(outages)
    sent = sum(max(received) - min(received) + 1 for received in counted.values())
    if away:
        sent -= sum(_lost_in(sorted(received.items()), away) for received in counted.values())
    return SentAndReceived(sent, sum(map(len, counted.values())))


def _joined(outages: Sequence[Span]) -> list[Span]:
    """Without overlaps, each until gateways are connected again."""
    joined: list[Span] = []
    for began_at, ended_at in sorted(outages):
        until = ended_at + RECONNECTED_WITHIN
        if joined and began_at <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], until)
        else:
            joined.append((began_at, until))
    return joined


def _lost_in(received: Sequence[tuple[int, datetime]], away: Sequence[Span]) -> int:
    """How many of the frames that are missing between these may have been sent during these outages.

    A device sends at an even pace between two frames that were received; of an outage that is shorter than its
    pace one frame may be missing.
    """
    excused = 0
    for (f_cnt, at), (next_f_cnt, next_at) in pairwise(received):
        missing = next_f_cnt - f_cnt - 1
        if missing and next_at > at:
            pace = (next_at - at) / (missing + 1)
            shared = (min(ended_at, next_at) - max(began_at, at) for began_at, ended_at in away)
            excused += min(missing, sum(ceil(time / pace) for time in shared if time > timedelta(0)))
    return excused
