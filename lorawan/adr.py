"""Adaptive data rate from the last 20 uplinks of a device (docs/protocols.md, "Matrix", row 35). Pure.

An uplink counts by the gateway that received it best, and a device by the best of its last twenty uplinks: fading
takes some of them away, and what one gateway misses another has.
"""

from collections.abc import Sequence
from math import trunc

from msgspec import Struct

from lorawan.regions.region import REQUIRED_SNR, Lora, Region

HISTORY = 20
# Before this many uplinks nothing is said: a change costs a downlink, and the next uplinks would change it again.
FEWEST_SAMPLES = 4
# What is kept between a device's best SNR and the least that its data rate needs, for fading and for its moving.
MARGIN_DB = 10.0
# What is kept beside that while fewer than twenty uplinks were received.
SAFETY_DB = 2.5
STEP_DB = 3.0
FASTEST_DATA_RATE = 5
LOWEST_POWER = 7  # Index; each lowers the power by 2 dB.
MOST_NB_TRANS = 3
# By the share of uplinks that were lost, up to this one; then by the NbTrans of now, from 1 on.
_NB_TRANS_BY_LOSS = ((0.05, (1, 1, 2)), (0.10, (1, 2, 3)), (0.30, (2, 3, 3)), (1.0, (3, 3, 3)))


class Sample(Struct, frozen=True, array_like=True, gc=False):
    """One uplink: the SNR (dB) at its best gateway, and how many before it were not received."""

    snr: float
    missed: int


class LinkSettings(Struct, frozen=True, gc=False):
    """How a device sends: indices of data rate and power, and how often it repeats an unconfirmed uplink."""

    data_rate: int
    tx_power: int
    nb_trans: int


class Limits(Struct, frozen=True, gc=False):
    """What the device is known to accept: narrower than the plan after it rejected something."""

    max_data_rate: int = FASTEST_DATA_RATE
    min_tx_power: int = 0
    max_tx_power: int = LOWEST_POWER


NO_LIMITS = Limits()


class Bounds(Struct, frozen=True, gc=False):
    """Within what the operator of a device wants it to be set, both ends included."""

    min_data_rate: int = 0
    max_data_rate: int = FASTEST_DATA_RATE
    min_tx_power: int = 0
    max_tx_power: int = LOWEST_POWER


NO_BOUNDS = Bounds()


def remember(history: Sequence[Sample], sample: Sample) -> tuple[Sample, ...]:
    """The last twenty samples; what a long outage lost is no more than a history."""
    return (*history[-(HISTORY - 1) :], Sample(sample.snr, min(sample.missed, HISTORY)))


def decide(
    region: Region,
    current: LinkSettings,
    limits: Limits,
    history: Sequence[Sample],
    bounds: Bounds = NO_BOUNDS,
) -> LinkSettings:
    """How the device should send from now on; `current` when all is well.

    The data rate only rises, unless it is out of bounds: a device that gets no answer any more lowers it by itself
    (ADRACKReq). Power and repetitions go both ways, losing ground only on a full history.

    Args:
        region: its data rates.
        current: as the device sends, hence as the history was received.
        limits: what the device takes.
        history: the last uplinks at these settings, oldest first.
        bounds: what its operator wants, however well or badly it is received.
    """
    if len(history) < FEWEST_SAMPLES:
        return current
    nb_trans = _nb_trans(current.nb_trans, history)
    data_rate, tx_power = current.data_rate, current.tx_power
    steps = _steps(region, current, history)
    while steps > 0 and data_rate < min(limits.max_data_rate, bounds.max_data_rate):
        data_rate, steps = data_rate + 1, steps - 1
    # A device that is held below the fastest rate keeps its power: with less of it, it would never get there.
    if steps > 0 and data_rate >= bounds.max_data_rate:
        tx_power = max(tx_power, min(tx_power + steps, limits.max_tx_power))
    if steps < 0 and len(history) >= HISTORY:
        tx_power = min(tx_power, max(tx_power + steps, limits.min_tx_power))
    if current.data_rate <= FASTEST_DATA_RATE:
        # What the device has refused it is not asked for, whatever its operator wants.
        data_rate = max(data_rate, min(bounds.min_data_rate, limits.max_data_rate))
        tx_power = max(tx_power, min(bounds.min_tx_power, limits.max_tx_power))
        data_rate, tx_power = min(data_rate, bounds.max_data_rate), min(tx_power, bounds.max_tx_power)
    return LinkSettings(data_rate, max(tx_power, limits.min_tx_power), nb_trans)


def _steps(region: Region, current: LinkSettings, history: Sequence[Sample]) -> int:
    rate = region.data_rates[current.data_rate]
    if not isinstance(rate, Lora) or current.data_rate > FASTEST_DATA_RATE:
        return 0  # Faster than what all channels take: somebody chose that, and not we.
    margin = max(sample.snr for sample in history) - REQUIRED_SNR[rate.spreading_factor] - MARGIN_DB
    if len(history) < HISTORY:
        margin -= SAFETY_DB
    return trunc(margin / STEP_DB)


def _nb_trans(current: int, history: Sequence[Sample]) -> int:
    if len(history) < HISTORY:
        return current
    # What was lost before the first sample was lost under whatever held then.
    missed = sum(sample.missed for sample in history[1:])
    loss = missed / (missed + len(history))
    place = min(max(current, 1), MOST_NB_TRANS) - 1
    return next(by_current[place] for most, by_current in _NB_TRANS_BY_LOSS if loss < most)
