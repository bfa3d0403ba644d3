"""Series computed from measurements, one value at a time: state in, state out.

`night_minimum_flow`: of a water index (L) or a count of pulses, the least flow of each night, in units per hour.
Those of lighting are in `alerting.rules.lighting_series`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from alerting.rules import lighting_series
from alerting.rules.model import Observation, Place
from core.model.region import Region

NIGHT_FROM_HOUR, NIGHT_UNTIL_HOUR = 2, 5
# Over less than this a meter that counts in tens of litres shows either nothing or a flood.
LEAST_SPAN_S = 55 * 60.0
# A gap in the middle of the night hides when the water ran.
MOST_SPAN_S = 130 * 60.0
NIGHTS_KEPT = 21
# Over less a sensor's last digit is a rate of many degrees per hour; a device that speaks every five minutes, a
# little early now and then, is judged at each reading.
LEAST_RATE_SPAN_S = 4 * 60.0


class Nights(msgspec.Struct, array_like=True):
    """What the least flow of a night is found by."""

    anchor_s: float  # The reading from which the present span counts.
    anchor: float
    night: str = ""  # The night under way, by its morning's date, and its least flow so far.
    least: float | None = None
    known: list[float] = msgspec.field(default_factory=list[float])  # The least flows of the last nights.


# What a rule of another kind has left, before it was changed to this one, is nothing.
_nights = msgspec.msgpack.Decoder(Nights)
_last_reading = msgspec.msgpack.Decoder(tuple[float, float])
_encode = msgspec.msgpack.Encoder().encode


def step(series: str, memo: bytes, observation: Observation, place: Place) -> tuple[bytes, Observation | None]:
    """What to remember after `observation`, and the value of the series that it completes, if any."""
    if series != "night_minimum_flow":
        return lighting_series.step(series, memo, observation, place)
    return _night(memo, observation, place.region)


def rate(memo: bytes, observation: Observation) -> tuple[bytes, Observation | None]:
    """The change per hour since the last reading that is long enough ago; None until there is one."""
    seconds = observation.at.timestamp()
    after = _encode((seconds, observation.value))
    try:
        before_s, before = _last_reading.decode(memo)
    except msgspec.MsgspecError:
        return after, None
    if seconds - before_s < LEAST_RATE_SPAN_S:
        return memo, None
    return after, Observation(observation.at, (observation.value - before) * 3600 / (seconds - before_s))


def nights_before(memo: bytes) -> Sequence[float]:
    """The least flows of the nights before the last one that is known."""
    nights = _nights_of(memo)
    return () if nights is None else nights.known[:-1]


def _nights_of(memo: bytes) -> Nights | None:
    try:
        return _nights.decode(memo)
    except msgspec.MsgspecError:
        return None


def _night(memo: bytes, observation: Observation, region: Region) -> tuple[bytes, Observation | None]:
    """Hourly spans that lie between two and five o'clock count; the night is judged at the first reading after."""
    seconds, index = observation.at.timestamp(), observation.value
    nights = _nights_of(memo)
    if nights is None:
        return _encode(Nights(seconds, index)), None
    local = region.local(observation.at)
    since = datetime.fromtimestamp(nights.anchor_s, region.zone)
    begins = local.replace(hour=NIGHT_FROM_HOUR, minute=0, second=0, microsecond=0)
    ends = local.replace(hour=NIGHT_UNTIL_HOUR, minute=0, second=0, microsecond=0)
    tonight = local.date().isoformat()
    span_s, flowed = seconds - nights.anchor_s, index - nights.anchor
    is_told = LEAST_SPAN_S <= span_s <= MOST_SPAN_S and flowed >= 0
    if is_told and begins <= since and local <= ends:
        flow = flowed * 3600 / span_s
        nights.least = flow if nights.night != tonight or nights.least is None else min(flow, nights.least)
        nights.night = tonight
    judged: Observation | None = None
    if nights.least is not None and (local >= ends or nights.night != tonight):
        judged = Observation(_begin_of(nights.night, region), nights.least)
        nights.known = [*nights.known[-(NIGHTS_KEPT - 1) :], nights.least]
        nights.night, nights.least = "", None
    if span_s >= LEAST_SPAN_S or flowed < 0 or since < begins <= local:
        nights.anchor_s, nights.anchor = seconds, index
    return _encode(nights), judged


def _begin_of(night: str, region: Region) -> datetime:
    day = datetime.fromisoformat(night).replace(tzinfo=region.zone)
    return day.replace(hour=NIGHT_FROM_HOUR).astimezone(UTC)
