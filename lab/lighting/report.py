"""The figures of `bench lighting`, each beside its goal."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.table import Table

from lab.lighting.campaign import ALL_ON, OVERRIDES, PROGRAMS
from lab.lighting.figures import PROVED, Played

# What has to hold: a share of the predicted, of the cabinets, of an hour, of uplinks; seconds.
PREDICTED_WITHIN = 0.20
PROVED_SHARE = 0.995
PROVED_WITHIN_S = {OVERRIDES.name: 3_600.0, PROGRAMS.name: 7_200.0}
BAND = 0.10
LOSS_ADDED = 0.02
ALL_LIT_WITHIN_S = 180.0
AGREES_WITHIN = 0.10
SWEPT_CORES = 0.1


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: what was measured, and its goal, if it has one."""

    name: str
    measured: str
    goal: str = ""
    is_reached: bool | None = None


def figures_of(played: Played) -> list[Figure]:
    """Those of one campaign."""
    made = [
        Figure(
            "armoires, passerelles, la plus chargée",
            f"{played.cabinets}, {played.gateways}, {_most(played)} armoires",
        ),
        Figure("état", played.state.state + (f" ({played.state.halted_for})" if played.state.halted_for else "")),
    ]
    made += _lit(played) if played.name == ALL_ON.name else [*_proved(played), _predicted(played)]
    made += [
        Figure("trames par armoire", f"{played.attempts:.2f} ordres, {_frames(played):.2f} trames"),
        Figure(
            "temps d'antenne, la passerelle la plus active en une heure",
            f"{100 * played.worst_hour:.2f} %",
            f"{100 * BAND:.0f} % au plus",
            played.worst_hour <= BAND,
        ),
        Figure(
            "montantes perdues en plus, équipements de deux passerelles",
            f"{100 * played.loss.redundant:.2f} points",
            f"moins de {100 * LOSS_ADDED:.0f}" if played.name != ALL_ON.name else "",
            played.loss.redundant < LOSS_ADDED if played.name != ALL_ON.name else None,
        ),
        Figure(
            "montantes perdues en plus, une seule passerelle",
            f"{100 * played.loss.alone:.2f} points, dont {100 * played.loss.busy:.2f} d'émission",
        ),
        Figure(
            "brouillées",
            f"{played.disturbed.spoilt} descendantes par une autre passerelle, {played.disturbed.collided} "
            f"réceptions par un autre équipement, {played.disturbed.deaf} par l'émission de la passerelle",
        ),
        Figure("joué en", f"{played.wall_s:.0f} s, {played.cpu_s:.0f} s de CPU sans PostgreSQL"),
    ]
    return made


def _most(played: Played) -> int:
    return max(Counter(one.gateway for one in played.outcomes).values())


def _frames(played: Played) -> float:
    return sum(len(of_gateway) for of_gateway in played.sent) / played.cabinets


def _proved(played: Played) -> list[Figure]:
    within_s = PROVED_WITHIN_S[played.name]
    share = played.proved_within(within_s)
    states = Counter(one.state for one in played.outcomes if one.state not in PROVED)
    others = ", ".join(f"{count} {state}" for state, count in states.items())
    return [
        Figure(
            f"prouvés en {within_s / 60:.0f} minutes",
            f"{100 * share:.2f} %" + (f" ({others})" if others else ""),
            f"{100 * PROVED_SHARE:.1f} %",
            share >= PROVED_SHARE,
        ),
        Figure(
            "la moitié, 95 %, 99,5 % prouvés après",
            " ; ".join(_minutes(played.proved_at(s)) for s in (0.5, 0.95, 0.995)),
        ),
    ]


def _predicted(played: Played) -> Figure:
    took_s = played.took_s
    if took_s is None:
        return Figure(
            "fin prévue",
            f"{_minutes(played.predicted_s)}, pas finie",
            f"à {100 * PREDICTED_WITHIN:.0f} % près",
            False,
        )
    off = played.predicted_s / took_s - 1
    return Figure(
        "fin prévue et fin",
        f"{_minutes(played.predicted_s)} et {_minutes(took_s)} ({100 * off:+.0f} %)",
        f"à {100 * PREDICTED_WITHIN:.0f} % près",
        abs(off) <= PREDICTED_WITHIN,
    )


def _lit(played: Played) -> list[Figure]:
    after_s = played.lit_after_s
    return [
        Figure(
            "toutes allumées, aux relais",
            f"{played.lit} sur {played.cabinets}"
            if after_s is None
            else f"{played.cabinets} en {_minutes(after_s)}",
            f"en moins de {_minutes(ALL_LIT_WITHIN_S)}",
            after_s is not None and after_s < ALL_LIT_WITHIN_S,
        ),
        Figure(
            "allumées après 1, 2 et 3 minutes",
            " ; ".join(f"{played.lit_within(minutes * 60)}" for minutes in (1, 2, 3)),
        ),
        Figure("fin prévue du dernier envoi", _minutes(played.predicted_s)),
    ]


def compare(real: Played, simulated: Sequence[Played]) -> list[Figure]:
    """The real-time run beside the mean of simulated ones of the same area."""

    def mean(of: Callable[[Played], float | None]) -> float:
        values = [of(one) for one in simulated]
        return fmean(value for value in values if value is not None)

    pairs: list[tuple[str, str, Callable[[Played], float | None]]] = [
        ("prouvés", "{:.1%}", lambda one: one.proved_within(float("inf"))),
        ("la moitié prouvés après, s", "{:.0f}", lambda one: one.proved_at(0.5)),
        ("95 % prouvés après, s", "{:.0f}", lambda one: one.proved_at(0.95)),
        ("temps d'antenne, s", "{:.1f}", lambda one: one.airtime_s),
        ("trames", "{:.0f}", lambda one: float(sum(len(of_gateway) for of_gateway in one.sent))),
        ("ordres par armoire", "{:.3f}", lambda one: one.attempts),
    ]
    made: list[Figure] = []
    for name, shape, of in pairs:
        played, expected = of(real), mean(of)
        if played is None:
            made.append(Figure(name, "jamais", shape.format(expected), False))
            continue
        off = played / expected - 1
        text = f"{shape.format(played)} contre {shape.format(expected)} ({100 * off:+.1f} %)"
        made.append(Figure(name, text, f"à {100 * AGREES_WITHIN:.0f} % près", abs(off) <= AGREES_WITHIN))
    took_s = real.took_s
    made.append(Figure("fin, s", f"{_seconds(took_s)} contre {mean(lambda one: one.took_s):.0f}"))
    return made


def print_figures(console: Console, title: str, figures: Sequence[Figure]) -> None:
    """A table."""
    table = Table("grandeur", "mesuré", "objectif", "", title=title)
    for one in figures:
        mark = (
            "" if one.is_reached is None else "[green]atteint[/green]" if one.is_reached else "[red]manqué[/red]"
        )
        table.add_row(one.name, one.measured, one.goal, mark)
    console.print(table)


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return "jamais"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _seconds(seconds: float | None) -> str:
    return "pas finie" if seconds is None else f"{seconds:.0f}"
