"""A stored measurement as rules judge it, or not at all. Pure."""

from datetime import datetime

from alerting.rules.model import ImprobableInstant, ImprobableValue, Observation
from core.messages.measurements import DOUBTFUL, Flag
from core.model.plausibility import Plausibility, plausibility
from core.model.quantities import QUANTITIES

_DOUBTFUL, _SUSPECT = int(DOUBTFUL), int(Flag.SUSPECT)


def observation_of(quantity: str, at: datetime, value: float, flags: int) -> Observation | None:
    """The observation that a measurement is; None: its value is impossible, or an error code."""
    if not flags & _DOUBTFUL:
        return Observation(at, value)
    if not flags & _SUSPECT:
        return ImprobableInstant(at, value)
    known = QUANTITIES.get(quantity)
    # Plausible for the quantity, it is outside the range of its own sensor.
    if known is None or plausibility(value, known) not in (Plausibility.PLAUSIBLE, Plausibility.IMPROBABLE):
        return None
    return ImprobableValue(at, value)
