"""What every decoder returns: readings in canonical quantities and units."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class MalformedPayload(ValueError):
    """Octets that the format does not allow. The message, in French, names the rule and the offending octets."""


class Reading(NamedTuple):
    """One measured value at one instant.

    `time_us` is microseconds since 1970 UTC. `channel` distinguishes several sources of one quantity on
    a device (`""` for the only one, `"1"`, `"phase_a"`, `"index_hc"`). `quantity` names an entry of
    `core.model.quantities.QUANTITIES`; `value` is in that quantity's unit, booleans are 0.0 or 1.0,
    enumerations their catalogue code.
    """

    time_us: int
    channel: str
    quantity: str
    value: float


@dataclass(slots=True)
class Decoded:
    """What a payload says: readings for the tables, and everything else (text, status) as JSON in `data`.

    `unmatched` are the paths of a vendor's mapping that found nothing in it.
    """

    readings: list[Reading] = field(default_factory=list[Reading])
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: list[str] = field(default_factory=list[str])
    unmatched: list[str] = field(default_factory=list[str])
