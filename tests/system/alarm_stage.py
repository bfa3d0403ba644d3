"""A stage for the rules of alarms: what services have shown at /metrics, carried on, with what goes wrong.

Nothing is invented: a change names series, and there is none of these where no service has shown them. What is not
ours (`FOREIGN`) is as in a cluster that is well. promtool's clock begins at zero, and the stage an hour later, so
that instants from before it are instants.
"""

import json
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from prometheus_client.parser import text_string_to_metric_families

BEGINS_S = 3600
MINUTE_S = 60
# What the operator's PodMonitor gives every series; a label of ours with such a name is put aside.
TARGET = {"namespace": "territoire", "job": "territoire/territoire", "container": "service", "endpoint": "health"}

Values = list[float | None]
# Values by step, the step of the failure, and when each step is.
Change = Callable[[Values, int, Sequence[float]], Values]


# Of a sample, or after the word of a comment.
_NAME_OF = re.compile(r"(?:# (?:TYPE|HELP) )?\w*")


class Scrape(NamedTuple):
    """What one service has shown, and when (seconds since 1970)."""

    at: float
    service: str
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a stage; `values` has one for each step of the recording, None where it was not shown."""

    name: str
    labels: Mapping[str, str]
    values: Values
    is_counter: bool = False

    def is_named(self, selector: str) -> bool:
        """Whether it is one of `name{label=value|value,…}`."""
        name, _, wanted = selector.rstrip("}").partition("{")
        pairs = [pair.split("=", 1) for pair in wanted.split(",") if pair]
        return self.name == name and all(self.labels.get(key) in value.split("|") for key, value in pairs)

    def written(self, values: Values) -> dict[str, str]:
        """As promtool reads it."""
        labels = ",".join(f'{key}="{value}"' for key, value in sorted(self.labels.items()))
        shown = " ".join("_" if value is None else f"{value:.9g}" for value in values)
        return {"series": f"{self.name}{{{labels}}}", "values": shown}


def _only(text: str, asked: set[str]) -> str:
    """The lines of these names: the parser is slow, and a service shows hundreds."""
    families = {name for one in asked for name in (one, one.removesuffix("_total"), one.rpartition("_")[0])}
    kept = [line for line in text.splitlines() if _NAME_OF.match(line)[0].rpartition(" ")[2] in families]
    return "\n".join([*kept, ""])


def _target(service: str) -> dict[str, str]:
    name = service.replace("_", "-")
    return TARGET | {"app_kubernetes_io_name": name, "pod": f"{name}-1", "instance": f"{name}:8080"}


def _scraped(target: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    return dict(target) | {f"exported_{key}" if key in target else key: value for key, value in labels.items()}


@dataclass
class Stage:
    """Series of the same steps, `step_s` apart; `ended_at` is when the last one was shown."""

    step_s: float
    steps: int
    ended_at: float
    series: list[Series] = field(default_factory=list[Series])

    @classmethod
    def of(cls, scrapes: Iterable[Scrape], asked: set[str], step_s: float) -> "Stage":
        """Every round of scrapes is a step; `asked`: the names that rules ask for."""
        rounds: dict[float, dict[str, str]] = {}
        for scrape in scrapes:
            rounds.setdefault(scrape.at, {})[scrape.service] = scrape.text
        stage = cls(step_s, len(rounds), max(rounds))
        found: dict[tuple[str, tuple[tuple[str, str], ...]], Series] = {}
        for place, at in enumerate(sorted(rounds)):
            for service, text in rounds[at].items():
                target = _target(service)
                stage._show(found, "up", target, place, 1.0, is_counter=False)
                for family in text_string_to_metric_families(_only(text, asked)):
                    for sample in family.samples:
                        if sample.name in asked:
                            labels = _scraped(target, sample.labels)
                            is_counter = family.type in {"counter", "histogram"}
                            stage._show(found, sample.name, labels, place, sample.value, is_counter=is_counter)
        stage.series = list(found.values())
        return stage

    def _show(
        self, found: dict[Any, Series], name: str, labels: Mapping[str, str], place: int, value: float, *,
        is_counter: bool,
    ) -> None:  # fmt: skip
        key = (name, tuple(sorted(labels.items())))
        series = found.setdefault(key, Series(name, labels, [None] * self.steps, is_counter))
        series.values[place] = value

    def carried_on(self, hours: float) -> "Stage":
        """What its last steps show, again and again: counters go on rising, ages come back."""
        steps = round(hours * 3600 / self.step_s)
        longer = Stage(self.step_s, steps, BEGINS_S + steps * self.step_s)
        for series in self.series:
            if series.values[-1] is not None:
                values = [value for value in series.values if value is not None]
                of_instants = "_timestamp_" in series.name
                longer.series.append(
                    Series(
                        series.name,
                        series.labels,
                        self._instants(values, steps) if of_instants else _again(values, steps, series.is_counter),
                        series.is_counter,
                    )
                )
        return longer

    def _instants(self, values: Sequence[float], steps: int) -> Values:
        """An instant that has moved moves on; one that stood still stands, and 0 is 1970."""
        ages = [
            self.ended_at - self.step_s * (len(values) - 1 - place) - value for place, value in enumerate(values)
        ]
        if len(set(values)) == 1:
            return [BEGINS_S - ages[-1]] * steps
        return [BEGINS_S + place * self.step_s - ages[place % len(ages)] for place in range(steps)]

    def as_it_was(self) -> "Stage":
        """The recording itself, by promtool's clock."""
        began_at = self.ended_at - (self.steps - 1) * self.step_s
        moved = Stage(self.step_s, self.steps, BEGINS_S + self.steps * self.step_s)
        for series in self.series:
            values = series.values
            if "_timestamp_" in series.name:
                values = [None if value is None else value - began_at + BEGINS_S for value in values]
            moved.series.append(Series(series.name, series.labels, values, series.is_counter))
        return moved

    def at(self, step: int) -> float:
        """By promtool's clock."""
        return BEGINS_S + step * self.step_s

    def with_change(self, selector: str, change: Change, at_s: float) -> "Stage":
        """The stage where these series change then.

        With ` as label=value` behind it, a selector is of a new series, which is first shown then.

        Raises:
            LookupError: nobody has shown any of them.
        """
        if " as " in selector:
            return self._with_born(selector).with_change(_joined(selector), change, at_s)
        step, clock = round(at_s / self.step_s), [self.at(place) for place in range(self.steps)]
        changed = [
            Series(one.name, one.labels, change(one.values, step, clock), one.is_counter)
            if one.is_named(selector)
            else one
            for one in self.series
        ]
        if not any(one.is_named(selector) for one in self.series):
            raise LookupError(f"nobody has shown {selector}")
        return Stage(self.step_s, self.steps, self.ended_at, changed)

    def _with_born(self, selector: str) -> "Stage":
        model, _, label = selector.partition(" as ")
        one = next((one for one in self.series if one.is_named(model)), None)
        if one is None:
            raise LookupError(f"nobody has shown {model}")
        key, value = label.split("=", 1)
        born = Series(one.name, {**one.labels, key: value}, [None] * self.steps, one.is_counter)
        return Stage(self.step_s, self.steps, self.ended_at, [*self.series, born])


def _joined(selector: str) -> str:
    return selector.replace("} as ", ",") + "}"


def _again(values: Sequence[float], steps: int, is_counter: bool) -> Values:
    if not is_counter or len(values) == 1:
        return [values[place % len(values)] for place in range(steps)]
    period, rise = len(values) - 1, values[-1] - values[0]
    return [values[place % period] + place // period * rise for place in range(steps)]


def _from(after: Callable[[float, float], float | None]) -> Change:
    """`after`: the value of the step of the failure, and now, to the value since then."""

    def change(values: Values, step: int, clock: Sequence[float]) -> Values:
        before = values[step] or 0.0
        return values[:step] + [after(before, at - clock[step]) for at in clock[step:]]

    return change


def gone() -> Change:
    """Shown no more."""
    return _from(lambda _before, _since: None)


def still() -> Change:
    """It moves no more."""
    return _from(lambda before, _since: before)


def at(value: float) -> Change:
    """This value."""
    return _from(lambda _before, _since: value)


def once(more: float = 1) -> Change:
    """It rises one time, and no more."""
    return _from(lambda before, _since: before + more)


def rising(a_minute: float) -> Change:
    """So much a minute."""
    return _from(lambda before, since: before + a_minute * since / MINUTE_S)


def instant(ago_s: float) -> Change:
    """An instant that was so long ago when the failure began, and stays."""

    def change(values: Values, step: int, clock: Sequence[float]) -> Values:
        return values[:step] + [clock[step] - ago_s] * (len(values) - step)

    return change


def steady(series: str, value: Callable[[float], float], stage: Stage) -> Series:
    """One that is not ours, of a cluster that is well; `value` by promtool's clock."""
    name, _, labels = series.rstrip("}").partition("{")
    pairs = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
    return Series(name, pairs, [value(stage.at(step)) for step in range(stage.steps)])


def names_in(rules: Mapping[str, Any]) -> set[str]:
    """The series of ours that rules ask for."""
    return set(re.findall(r"\bterritoire_\w+", yaml.safe_dump(rules)))


def written_test(
    name: str, stage: Stage, asked: Sequence[tuple[float, str, Mapping[str, float]]]
) -> dict[str, Any]:
    """One test of promtool: at so many seconds of the stage, each question has these values, by their labels."""
    before = f"_x{round(BEGINS_S / stage.step_s)} "
    series = [one.written(one.values) for one in stage.series]
    return {
        "name": name,
        "interval": f"{round(stage.step_s)}s",
        "input_series": [{**one, "values": before + one["values"]} for one in series],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": f"{round(BEGINS_S + seconds)}s",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()],
            }
            for seconds, expression, expected in asked
        ],
    }


def play(rules: Mapping[str, Any], tests: Sequence[dict[str, Any]], folder: Path) -> str:
    """What promtool finds wrong, empty when nothing is."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules), "utf-8")
    head = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m"}
    lines = [yaml.safe_dump(head), "tests:\n"]
    # Written by hand: the library takes a minute for what promtool reads in a second.
    for test in tests:
        lines.append(
            f"  - name: {json.dumps(test['name'])}\n    interval: {test['interval']}\n    input_series:\n"
        )
        lines += [
            f"      - series: '{one['series']}'\n        values: {one['values']}\n" for one in test["input_series"]
        ]
        lines.append(textwrap.indent(yaml.safe_dump({"promql_expr_test": test["promql_expr_test"]}), " " * 4))
    (folder / "played.yaml").write_text("".join(lines), "utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "played.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
