"""The types of rules: a rule, its state, what may happen to it, and what comes of it."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NamedTuple, cast, get_args

import msgspec
from msgspec import Struct

from alerting.rules.calendar import Calendar
from core.model.lighting import FROM_DUSK_TO_DAWN, LampPlace, Lamps, Program
from core.model.region import METROPOLITAN, Region
from core.model.unknown_time import known_for

# What is judged so long after it was measured was learnt late: the notification says so.
LATE_AFTER = timedelta(minutes=15)
# Readings that come late come in a row, from a gateway's buffer or another network: only what none of them has
# ended by then is notified.
SETTLE = timedelta(seconds=15)
# A state that was measured longer ago is shown, and notified to nobody; devices that speak rarely have longer.
NOTIFY_UP_TO = timedelta(hours=48)
# A reading that comes after later ones is judged in its place when it is no further behind the last of them.
OUT_OF_ORDER = timedelta(minutes=15)
# After a start or an outage devices are given this long to be heard, or their own period if that is shorter.
LEAST_WATCH = timedelta(minutes=5)
MOST_STEPS = 16

Severity = Literal["info", "warning", "major", "critical"]
SEVERITIES: tuple[str, ...] = get_args(Severity)
# The API's words and the table's constraint are these, too.
Kind = Literal[
    "threshold",
    "range",
    "rate",
    "boolean",
    "flat",
    "silence",
    "gateway",
    "loss",
    "gateway_address",
    "codec",
    "clock",
    "program_mismatch",
    "relight_failed",
    "export_drop",
    "partner",
]
KINDS: tuple[str, ...] = get_args(Kind)
# Alerts of these rules are requested by other services or by partners: the rule watches no datastream.
DECLARED = ("gateway_address", "codec", "clock", "relight_failed", "program_mismatch", "export_drop", "partner")
# The API's words and the table's constraint are these, too.
Series = Literal[
    "night_minimum_flow", "power_ratio", "missing_lamps", "contract_ratio", "phase_voltage", "phase_current"
]
SERIES: tuple[str, ...] = get_args(Series)
Schedule = Literal["always", "open", "closed", "night", "lit", "unlit"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)
# What a rule's message may name between braces (`alerting.wording.opened_text` fills them in).
MESSAGE_FIELDS = (
    "asset", "place", "street", "commune", "device", "gateway", "value", "threshold", "since", "link", "measured",
    "expected", "phase",
)  # fmt: skip
MESSAGE_FIELD = re.compile(r"\{(\w+)\}")


def is_graver(severity: str, other: str) -> bool:
    """Whether one severity is above another."""
    return SEVERITIES.index(severity) > SEVERITIES.index(other)


class Condition(StrEnum):
    """Of what a rule watches."""

    OK = "ok"
    PENDING = "pending"  # The rule's condition holds, not yet for long enough.
    FIRING = "firing"
    RECOVERING = "recovering"  # It no longer holds; what clears it does not either, or not for long enough.
    UNKNOWN = "unknown"  # The device has no data: that resolves nothing.


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of a rule's ladder; one of `value`, `within_hours` and `times_median` says when it is reached.

    `value`: the value compares so (`op`). `within_hours`: at the present slope, `limit` is reached within so many.
    `times_median`: the night's flow is above so many times the median of the nights before.
    `at_once`: it fires without the rule's own `for`.
    """

    severity: str
    op: str = ">="
    value: float | None = None
    within_hours: float | None = None
    limit: float = 100.0
    times_median: float | None = None
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A tenant's rule (table alert_rule). One about gateways or loss has no quantity, one about silence may."""

    id: int
    tenant_id: int
    name: str
    kind: str  # See KINDS.
    quantity: str | None
    severity: str
    message: str
    asset_kinds: tuple[str, ...] | None = None  # None: of every kind.
    tags: tuple[str, ...] = ()  # One of them is enough; empty: whatever the tags.
    series: str | None = None  # See SERIES; None: the values themselves.
    scope: str = "datastream"  # Or asset: one alert, whichever datastream it was.
    fire_op: str | None = None
    fire_value: float | None = None  # Of kind `boolean` 0 or 1, of `flat` how far a value may move.
    fire_upper: float | None = None  # With fire_value, the range outside which `range` fires.
    clear_op: str | None = None
    clear_value: float | None = None
    clear_upper: float | None = None
    for_readings: int = 1
    of_readings: int | None = None  # None: in a row.
    for_seconds: int = 0
    keep_firing_seconds: int = 0
    clear_on_emptying: bool = False
    silence_intervals: float = 3.0
    ladder: tuple[Rung, ...] = ()
    schedule: str = "always"  # See SCHEDULES.
    calendar_id: int | None = None
    team_id: int | None = None
    inhibits: bool = False
    cadence: str = "now"  # Or weekly.
    reopen_after_seconds: int = 14_400
    judges_improbable: bool = False  # Also values outside their sensor's range, or of a doubtful instant.
    opens_work_order: bool = False  # Its alerts, once notified.
    enabled: bool = True

    @property
    def is_patient(self) -> bool:
        """Whether more than one reading decides; of a night's flow the nights do, and no single reading."""
        return (
            self.for_readings > 1 or self.for_seconds > 0 or self.keep_firing_seconds > 0
        ) and self.series != "night_minimum_flow"

    @property
    def forecasts(self) -> bool:
        """Whether some rung asks when a limit will be reached, which only measured values say."""
        return (
            self.kind == "threshold"
            and self.series is None
            and any(rung.within_hours is not None for rung in self.ladder)
        )

    def severity_at(self, rung: int) -> str:
        """The severity of an alert that has reached this rung; 0 is the rule's own."""
        return self.ladder[rung - 1].severity if 0 < rung <= len(self.ladder) else self.severity


@dataclass(frozen=True, slots=True)
class Cabinet:
    """What is known of the cabinet or circuit of lamps that a datastream measures."""

    channel: str = ""  # Of the datastream: empty for the whole, phase_a... for one phase.
    phases: int = 1
    contract_power_kva: float | None = None
    lamp_w: float | None = None  # Of the smallest of its light points.
    lamps_w: float | None = None  # Of all of them.


@dataclass(frozen=True, slots=True)
class Place:
    """What a rule has to know of where it watches."""

    latitude: float | None = None
    longitude: float | None = None
    calendar: Calendar | None = None
    rated_power_w: float | None = None
    program: Program = FROM_DUSK_TO_DAWN  # Of its lamps.
    region: Region = METROPOLITAN
    interval: timedelta | None = None  # How often the device is expected to speak; None: nobody says.
    replaced_at: datetime | None = None  # When the device that serves it took another's place.
    school_zone: str | None = None  # Of the tenant's department.
    cabinet: Cabinet | None = None
    circuits: tuple[Lamps, ...] = ()  # Where some go by another program than the cabinet, of all of them.

    @property
    def lamp_place(self) -> LampPlace:
        """Where its lamps are."""
        return LampPlace(self.latitude, self.longitude, self.region, self.school_zone)

    @property
    def lamps(self) -> tuple[Lamps, ...]:
        """Those that go by one program each."""
        return self.circuits or (Lamps(self.program, self.rated_power_w),)

    @property
    def notify_up_to(self) -> timedelta:
        """How old a state that still holds may be when it is learnt, for people to be notified."""
        return NOTIFY_UP_TO if self.interval is None else max(NOTIFY_UP_TO, known_for(self.interval))


NOWHERE = Place()


class Doubt(StrEnum):
    """Why a measured value is not to be relied upon."""

    VALUE = "value"
    TIME = "time"


class Step(NamedTuple):
    """One of the last readings of a patient rule, and the state before it: where a late one is put in between."""

    at: datetime
    value: float
    before: "RuleState"


class RuleState(Struct, frozen=True, gc=False, array_like=True):
    """Where a rule stands with one datastream, one device (silence, loss) or one gateway."""

    condition: Condition
    since: datetime
    recent: int  # Of the last readings, the newest in the lowest bit: whether the rule's condition held.
    evaluated_until: datetime
    value: float | None  # The last that was judged.
    alerting: bool  # An alert is open.
    rung: int = 0  # Of the ladder that the open alert has reached.
    due_at: datetime | None = None  # When it is judged without a new value.
    memo: bytes = b""  # What a computed series or a forecast has to remember.
    past: tuple[Step, ...] = ()  # The last readings, when one that is late may count.

    @property
    def past_octets(self) -> bytes:
        """`past` as the table keeps it."""
        return _encode(self.past) if self.past else b""


_encode = msgspec.msgpack.Encoder().encode
_steps = msgspec.msgpack.Decoder(tuple[Step, ...])


def past_of(octets: bytes) -> tuple[Step, ...]:
    """`RuleState.past` from the table."""
    return _steps.decode(octets) if octets else ()


class Observation(NamedTuple):
    """A measured value at its instant; for a silence rule, a sign of life when it reached us."""

    at: datetime
    value: float

    doubt = cast("Doubt | None", None)
    """Why it is not to be relied upon: then only rules that judge improbable values are given it. No field."""


class ImprobableValue(Observation):
    """One that is outside its sensor's range, and physically possible."""

    doubt = Doubt.VALUE


class ImprobableInstant(Observation):
    """One that states an instant which is not credible; `at` is when it was received."""

    doubt = Doubt.TIME


@dataclass(frozen=True, slots=True)
class Missed:
    """Nothing was received of the device until this deadline."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """The state's own deadline may have passed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """When a gateway was last seen."""

    at: datetime


# Values of one batch come together, in the order of time: what the last of them has ended is not notified.
Event = Observation | list[Observation] | Missed | Due | Seen


@dataclass(frozen=True, slots=True)
class Opened:
    """An alert opens; the condition has held since `since`.

    `learnt_at`: it was only known so late. `doubt`: of the value that opens it.
    """

    at: datetime
    since: datetime
    value: float | None
    rung: int = 0
    learnt_at: datetime | None = None
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """The open alert has reached a higher rung."""

    at: datetime
    value: float | None
    rung: int
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """The open alert resolves by itself. Causes: cleared, emptied, heard (data arrives again)."""

    at: datetime
    value: float | None
    cause: str


Transition = Opened | Raised | Resolved
