"""Computes which share of a device's uplinks was lost, from FCnt, for every full hour."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

from alerting.rules.model import Observation
from core.model.frame_loss import CountedUplink, Span, sent_and_received

# At every full hour, over the day before; with fewer than 20 uplinks sent there is no percentage.
EVERY = timedelta(hours=1)
OVER = timedelta(days=1)
OF_AT_LEAST = 20


def hourly_frame_loss(
    frames: Sequence[CountedUplink], since: datetime, until: datetime, outages: Sequence[Span] = ()
) -> list[Observation]:
    """Percent of uplinks lost in the day before every full hour after `since`; `frames` in the order of time."""
    instants = [frame.at for frame in frames]
    hour = since.replace(minute=0, second=0, microsecond=0) + EVERY
    losses: list[Observation] = []
    while hour <= until:
        first, after = bisect_right(instants, hour - OVER), bisect_right(instants, hour)
        percent = lost_percent(frames[first:after], outages)
        if percent is not None:
            losses.append(Observation(hour, percent))
        hour += EVERY
    return losses


def lost_percent(frames: Sequence[CountedUplink], outages: Sequence[Span] = ()) -> float | None:
    """Percent missing between first and last FCnt of each session; None: fewer than 20 uplinks count as sent."""
    sent, received = sent_and_received(frames, outages)
    return None if sent < OF_AT_LEAST else 100 * (1 - received / sent)
