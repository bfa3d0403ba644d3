"""The instant of a value: as the answer gives it, or as its place in an array implies."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from decoders.mapping.paths import Found, Steps, find, parse_path, path_text
from lorawan.instants import to_us

US = 1_000_000
# What a bare number counts: seconds from 1973 to 2286, milliseconds from then on.
SECONDS_FROM, MILLISECONDS_FROM, MILLISECONDS_UNTIL = 1e8, 1e10, 1e13
FORMATS = ("auto", "iso", "unix_s", "unix_ms")
ORDERS = ("newest_first", "oldest_first")
LONGEST_STEP_S = 366 * 86_400


class InvalidTimeRule(ValueError):
    """A time rule that cannot be followed; the message, in French, says why."""


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Where the instant of a value is.

    `steps` lead to a date, beside the value in the innermost element of an array, or from the top of the answer
    when `from_top`. `step_s` spreads the elements of an array over time: the first (`newest_first`) or the last is
    at the date, or at the uplink's time. Where the answer says the step, `step_path` leads to it from the top,
    and one of what it counts is `step_s`. `round_s` puts instants that were counted back from reception on a
    grid, so that the same measurement in the next frame has the same instant.
    """

    steps: Steps = ()
    from_top: bool = False
    format: str = "auto"
    step_s: float = 0.0
    step_path: Steps = ()
    order: str = "newest_first"
    round_s: float = 0.0

    @classmethod
    def parse(cls, rule: Any) -> "TimeRule":
        """From the JSON of a mapping. Raises InvalidTimeRule, InvalidPath."""
        if not isinstance(rule, dict):
            raise InvalidTimeRule("« time » doit être un objet")
        said = cast("dict[str, Any]", rule)
        unknown = sorted(set(said) - {"path", "format", "step_s", "step_path", "order", "round_s"})
        if unknown:
            raise InvalidTimeRule(f"« time » : {', '.join(unknown)} inconnu")
        path = said.get("path", "")
        if not isinstance(path, str):
            raise InvalidTimeRule("« time.path » doit être un chemin")
        from_top = path.startswith("$.")
        path = path.removeprefix("$.")
        step_path = said.get("step_path", "")
        if not isinstance(step_path, str) or (step_path and not said.get("step_s")):
            raise InvalidTimeRule(
                "« time.step_path » doit être un chemin, et « time.step_s » dire ce que vaut son unité"
            )
        if said.get("format", "auto") not in FORMATS:
            raise InvalidTimeRule(f"« time.format » : attendu {', '.join(FORMATS)}")
        if said.get("order", "newest_first") not in ORDERS:
            raise InvalidTimeRule(f"« time.order » : attendu {', '.join(ORDERS)}")
        return cls(
            steps=parse_path(path) if path else (),
            from_top=from_top,
            format=said.get("format", "auto"),
            step_s=_seconds(said, "step_s"),
            step_path=parse_path(step_path.removeprefix("$.")) if step_path else (),
            order=said.get("order", "newest_first"),
            round_s=_seconds(said, "round_s"),
        )

    def as_json(self) -> dict[str, Any]:
        """What `parse` reads; what is usual is left out."""
        rule: dict[str, Any] = {}
        if self.steps:
            rule["path"] = ("$." if self.from_top else "") + path_text(self.steps)
        if self.format != "auto":
            rule["format"] = self.format
        if self.step_s:
            rule |= {"step_s": self.step_s, "order": self.order}
        if self.step_path:
            rule["step_path"] = "$." + path_text(self.step_path)
        if self.round_s:
            rule["round_s"] = self.round_s
        return rule

    def instant(self, found: Found, data: Any, time_us: int) -> int | None:
        """Microseconds since 1970 of a value; None when its date cannot be read."""
        instant = time_us
        if self.steps:
            where = data if self.from_top else found.element
            date = next(find(self.steps, where), None)
            read = None if date is None else read_instant(date.value, self.format)
            if read is None:
                return None
            instant = read
        if self.step_s:
            back = found.place if self.order == "newest_first" else max(found.places - 1, 0) - found.place
            step_s = self._step(data)
            if step_s is None:
                return instant if not back else None
            instant -= round(back * step_s * US)
        if self.round_s:
            grid = round(self.round_s * US)
            instant = (instant + grid // 2) // grid * grid
        return instant

    def _step(self, data: Any) -> float | None:
        """Seconds between two elements; None when the answer does not say a length of time."""
        if not self.step_path:
            return self.step_s
        said = next(find(self.step_path, data), None)
        try:
            step_s = float(said.value) * self.step_s if said is not None else 0.0
        except (TypeError, ValueError, OverflowError):
            return None
        return step_s if 0 < step_s <= LONGEST_STEP_S else None


def _seconds(rule: dict[str, Any], name: str) -> float:
    value = rule.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_STEP_S:
        raise InvalidTimeRule(f"« time.{name} » doit être un nombre de secondes, de 0 à {LONGEST_STEP_S}")
    return float(value)


def read_instant(value: Any, form: str = "auto") -> int | None:
    """A date as codecs write it, as microseconds since 1970 UTC; without a zone it is UTC. None: it is no date."""
    if isinstance(value, str):
        text = value.strip()
        if form in ("auto", "iso") and not text.isdecimal():
            return _read_iso(text)
        try:
            value = float(text)
        except ValueError:
            return None
    if form == "iso" or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    since = 0.0
    if form == "auto":
        since = SECONDS_FROM  # Less is seconds since something else.
        form = "unix_s" if value < MILLISECONDS_FROM else "unix_ms"
    unit_us, until = (US, MILLISECONDS_FROM) if form == "unix_s" else (1000, MILLISECONDS_UNTIL)
    return round(value * unit_us) if since <= value < until else None


def _read_iso(text: str) -> int | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return to_us(date if date.tzinfo else date.replace(tzinfo=UTC))
