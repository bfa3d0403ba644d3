"""When a value will reach a limit, by the median of the slopes between its last readings (Theil and Sen).

One reading that is wrong moves a median little; a straight line through all would follow it.
"""

import struct
from itertools import combinations
from statistics import median

from alerting.rules.model import Observation

POINT = struct.Struct("<dd")  # Seconds since 1970, value.
MOST_POINTS = 24
# Less says nothing about a slope.
LEAST_POINTS = 4
LEAST_SPAN_S = 3 * 3600.0
# So many points less than at the reading before: what was before belongs to another filling.
NEW_BEGINNING = 15.0


def remember(memo: bytes, observation: Observation, before: float | None) -> bytes:
    """The last readings since the last beginning, with this one.

    A rule that was of another kind has left something else there.
    """
    point = POINT.pack(observation.at.timestamp(), observation.value)
    if len(memo) % POINT.size or (before is not None and before - observation.value >= NEW_BEGINNING):
        return point
    return memo[-(MOST_POINTS - 1) * POINT.size :] + point


def hours_until(limit: float, memo: bytes, observation: Observation) -> float | None:
    """Hours from `observation` until the value reaches `limit`; None when it does not rise or little is known."""
    value = observation.value
    if value >= limit:
        return 0.0
    points = list(POINT.iter_unpack(memo)) if len(memo) % POINT.size == 0 else []
    if len(points) < LEAST_POINTS or points[-1][0] - points[0][0] < LEAST_SPAN_S:
        return None
    slope = median(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(points, 2)
        if later[0] > earlier[0]
    )
    return None if slope <= 0 else (limit - value) / slope / 3600
