"""What `bench ingest` found: medians over its runs, as a table for people and one JSON object for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.bench.observation import Snapshot
from lab.load.latency import Latency
from lab.load.load import Played
from lab.simulator.account import Account

GOAL_UPLINKS_PER_S = 15_000
GOAL_CPU_US = 90
GOAL_RATIO = 0.13
# More than this spent on something else, and the figures are those of a busy machine.
QUIET_CORES = 0.2


@dataclass(frozen=True, slots=True)
class Measured:
    """One play, with all that was observed of it."""

    played: Played
    latency: Latency
    rows: int
    before: Snapshot
    after: Snapshot

    @property
    def backlog(self) -> int:
        """Uplinks sent and not yet committed when the last one was sent."""
        return self.played.uplinks - self.latency.committed_in_time

    @property
    def is_sustained(self) -> bool:
        """Whether the backlog at the end is no larger than one second's arrivals."""
        return self.backlog <= self.played.rate

    @property
    def throughput(self) -> float:
        """Uplinks per second committed while the load was played."""
        return self.latency.committed_in_time * 1_000_000 / (self.played.ended_us - self.played.began_us)

    @property
    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds per uplink of each process of the stack."""
        before = self.before.cpu_s
        return {
            name: (cpu - before.get(name, 0)) * 1_000_000 / max(1, self.played.uplinks)
            for name, cpu in self.after.cpu_s.items()
        }

    @property
    def generator_us(self) -> float:
        """CPU microseconds per uplink of the generator."""
        return self.played.cpu_s * 1_000_000 / max(1, self.played.uplinks)

    @property
    def elsewhere_cores(self) -> float:
        """Cores that were busy with something else than the stack and the generator: the noise of this machine."""
        spent = self.after.machine_s - self.before.machine_s - self.played.cpu_s
        ours = sum(self.cpu_us.values()) * self.played.uplinks / 1_000_000
        return max(0.0, spent - ours) / self.took_s

    @property
    def took_s(self) -> float:
        """From the first uplink until everything was stored and read."""
        return self.after.at - self.before.at

    def cores(self, name: str) -> float:
        """The share of a core that a process took, until everything was stored."""
        return self.cpu_us[name] * self.played.uplinks / 1_000_000 / self.took_s

    @property
    def messages_per_second(self) -> dict[str, float]:
        """Messages published on each stream."""
        before = self.before.sequences
        return {name: (last - before[name]) / self.took_s for name, last in self.after.sequences.items()}

    def as_dict(self) -> dict[str, Any]:
        """The figures of this play; the rate is what was committed when it was not sustained."""
        return {
            "uplinks_per_second": round(self.played.rate if self.is_sustained else self.throughput, 1),
            "offered_per_second": round(self.played.rate, 1),
            "sustained": self.is_sustained,
            "backlog": self.backlog,
            "values_per_uplink": round(self.rows / max(1, self.latency.stored), 2),
            "cpu_us_per_uplink": round(sum(self.cpu_us.values()), 1),
            "cpu_us_per_uplink_by_process": {name: round(cpu, 1) for name, cpu in self.cpu_us.items()},
            "cores_by_process": {name: round(self.cores(name), 2) for name in self.cpu_us},
            "generator_cpu_us_per_uplink": round(self.generator_us, 1),
            "cores_busy_elsewhere": round(self.elsewhere_cores, 2),
            "p50_ms": round(self.latency.p50_ms, 1),
            "p95_ms": round(self.latency.p95_ms, 1),
            "p99_ms": round(self.latency.p99_ms, 1),
            "messages_per_second": {name: round(rate) for name, rate in self.messages_per_second.items()},
            "udp_drops": self.after.drops - self.before.drops,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """The sustained play, the ceiling right after it, and the paced play."""

    sustained: Measured | None
    ceiling_rows_per_s: float
    paced: Measured | None

    def as_dict(self) -> dict[str, Any]:
        """The figures of this run; those of the paced play alone when there is no other."""
        main = self.sustained or self.paced
        assert main is not None
        figures = main.as_dict()
        rows_per_s = figures["uplinks_per_second"] * figures["values_per_uplink"]
        figures["rows_per_second"] = round(rows_per_s)
        figures["ceiling_rows_per_second"] = round(self.ceiling_rows_per_s)
        figures["ratio_to_ceiling"] = round(rows_per_s / self.ceiling_rows_per_s, 3)
        if self.sustained is not None and self.paced is not None:
            figures["paced"] = self.paced.as_dict()
        return figures


def median_of(figures: Sequence[Any]) -> Any:
    """The median of each number, key by key; a flag is true if it always was, the rest is the first run's."""
    first = figures[0]
    if isinstance(first, bool):
        return all(figures)
    if isinstance(first, int | float):
        middle = median(figures)
        return round(middle, 3) if isinstance(middle, float) else middle
    if isinstance(first, dict):
        return {key: median_of([one[key] for one in figures if key in one]) for key in first}  # pyright: ignore[reportUnknownVariableType]
    return first


def print_search(console: Console, measured: Measured) -> None:
    """Two lines for a rate that was tried: the verdict, and who spent the time."""
    verdict = "[green]tenu[/green]" if measured.is_sustained else "[red]non tenu[/red]"
    cores = sum(measured.cores(name) for name in measured.cpu_us)
    console.print(
        f"  {measured.played.rate:8.0f} trames/s : {verdict}, reste {measured.backlog}, "
        f"p50 {measured.latency.p50_ms:.0f} ms, p99 {measured.latency.p99_ms:.0f} ms, "
        f"{100 * cores:.0f} % d'un cœur, ailleurs {100 * measured.elsewhere_cores:.0f} %",
        highlight=False,
        soft_wrap=True,
    )
    spent = sorted(measured.cpu_us.items(), key=lambda item: -item[1])
    parts = ", ".join(f"{name} {cpu:.0f}" for name, cpu in spent if cpu >= 1)
    console.print(
        f"           {sum(measured.cpu_us.values()):.0f} µs/trame : {parts} ; générateur "
        f"{measured.generator_us:.0f}",
        highlight=False,
        soft_wrap=True,
    )


def print_report(console: Console, figures: dict[str, Any], accounts: Iterable[Account]) -> None:
    """The figures, for people."""
    for title, part in (("Débit", figures), ("Débit imposé", figures.get("paced"))):
        if part is not None:
            console.print(_table(f"{title} {'soutenu' if part['sustained'] else 'NON soutenu'}", part))
    if figures["cores_busy_elsewhere"] > QUIET_CORES:
        console.print(
            f"[yellow]La machine n'est pas au repos[/yellow] : {100 * figures['cores_busy_elsewhere']:.0f} % d'un "
            "cœur va ailleurs ; débits et délais ne valent que pour ce moment.",
            highlight=False,
        )
    console.print(
        f"Plafond (deux COPY) : {_spaced(figures['ceiling_rows_per_second'])} lignes/s ; ici "
        f"{_spaced(figures['rows_per_second'])} lignes/s, rapport {figures['ratio_to_ceiling']:.3f} "
        f"(but {GOAL_RATIO}). Buts : {_spaced(GOAL_UPLINKS_PER_S)} trames/s, {GOAL_CPU_US} µs/trame.",
        highlight=False,
    )
    for account in accounts:
        console.print(
            f"Compte : {account.heard} émises, {account.stored} enregistrées, {account.missing} manquantes, "
            f"{account.duplicates} en double, {account.unexpected} inconnues, {account.undecodable} non décodées",
            highlight=False,
        )
        for example in account.examples[:5]:
            console.print(f"  {example}", highlight=False)


def _spaced(number: float) -> str:
    return f"{number:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def _table(title: str, part: dict[str, Any]) -> Table:
    table = Table(
        title=f"{title} : {part['uplinks_per_second']:.0f} trames/s, {part['values_per_uplink']} valeurs par trame"
    )
    for heading in ("", "µs CPU par trame", "% d'un cœur"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, cpu in part["cpu_us_per_uplink_by_process"].items():
        table.add_row(name, f"{cpu:.1f}", f"{100 * part['cores_by_process'][name]:.0f}")
    table.add_row("[bold]ensemble[/bold]", f"[bold]{part['cpu_us_per_uplink']:.1f}[/bold]", end_section=True)
    table.add_row("générateur, à part", f"{part['generator_cpu_us_per_uplink']:.1f}")
    table.add_row("ailleurs sur la machine", "", f"{100 * part['cores_busy_elsewhere']:.0f}", end_section=True)
    table.add_row("datagramme à commit", f"p50 {part['p50_ms']:.0f} ms", "")
    table.add_row("", f"p95 {part['p95_ms']:.0f} ms")
    table.add_row("", f"p99 {part['p99_ms']:.0f} ms", end_section=True)
    for stream, rate in part["messages_per_second"].items():
        table.add_row(stream, f"{rate} messages/s")
    table.add_row("perdus par le noyau (UDP)", str(part["udp_drops"]))
    table.add_row("reste à la fin", str(part["backlog"]))
    return table
