"""What an examination of an installation finds, and how it is shown."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import IntEnum

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape

from cli.finding_kinds import Subject, subject_of

# Below a fifth PostgreSQL's next large index may fill the disk.
SCARCE = 0.2
STREAM_FILLING = 0.5
BACKUP_OLD = timedelta(hours=36)
NAMES_SHOWN = 5
Who = Sequence[str] | Mapping[str, str]


class Severity(IntEnum):
    """Also the exit status of `doctor`: the worst that was found."""

    GOOD = 0
    WARNING = 1
    CRITICAL = 2


MARKS = {Severity.GOOD: "[green]✓[/]", Severity.WARNING: "[yellow]![/]", Severity.CRITICAL: "[bold red]✗[/]"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `remedy` says what to do; empty when nothing is to be done.

    `kind` (finding_kinds.Kind) and those that are in this state identify it: never its French. They are identified
    by `ids`, in the order of their `names`, where names change or two have the same; else by their names.
    """

    subject: str
    severity: Severity
    what: str
    remedy: str = ""
    kind: str = ""
    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """One for each that is concerned."""
        return tuple(f"{self.kind}/{one}" for one in self.ids or self.names) or (self.kind,)

    @property
    def title(self) -> str:
        """The subject, and which ones."""
        return f"{self.subject} ({named(self.names)})" if self.names else self.subject

    def each(self) -> list["Finding"]:
        """The same of each one that is concerned."""
        if self.ids:
            return [replace(self, names=(n,), ids=(i,)) for n, i in zip(self.names, self.ids, strict=True)]
        return [replace(self, names=(name,)) for name in self.names] or [self]


def one_line(text: str) -> str:
    """Without what would end a line or steer a terminal: names are chosen by tenants."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))


def named(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    rest = len(names) - NAMES_SHOWN
    return ", ".join(map(one_line, names[:NAMES_SHOWN])) + (
        f" et {rest} autre{'s' if rest > 1 else ''}" if rest > 0 else ""
    )


def good(subject: Subject, what: str) -> Finding:
    """Nothing is wrong."""
    return Finding(subject.french, Severity.GOOD, what)


def warning(kind: str, what: str, remedy: str, who: Who = ()) -> Finding:
    """It works, and will not for long, or not for all. `who`: their names, or names by what identifies them."""
    return _bad(Severity.WARNING, kind, what, remedy, who)


def critical(kind: str, what: str, remedy: str, who: Who = ()) -> Finding:
    """Something does not work now, or data is in danger. `who`: as of `warning`."""
    return _bad(Severity.CRITICAL, kind, what, remedy, who)


def _bad(severity: Severity, kind: str, what: str, remedy: str, who: Who) -> Finding:
    names, ids = (who.values(), who) if isinstance(who, Mapping) else (who, ())
    subject = Subject(subject_of(kind)).french
    return Finding(subject, severity, what, remedy, kind, tuple(names), tuple(ids))


def days_left(until: datetime, now: datetime) -> str:
    """How long something still holds, in whole days."""
    days = (until - now).days
    return "moins d'un jour" if days < 1 else f"{days} jour{'s' if days > 1 else ''}"


def worst(findings: list[Finding]) -> Severity:
    """The worst severity; GOOD when there are no findings."""
    return max((finding.severity for finding in findings), default=Severity.GOOD)


def print_findings(console: Console, findings: list[Finding]) -> None:
    """Each with its mark and remedy, then one line that sums up."""
    for finding in findings:
        console.print(f"{MARKS[finding.severity]} [bold]{escape(finding.title)}[/] : ", end="")
        console.print(finding.what, markup=False, highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"    → {finding.remedy}", markup=False, highlight=False, soft_wrap=True)
    counts = {severity: sum(one.severity is severity for one in findings) for severity in Severity}
    match worst(findings):
        case Severity.GOOD:
            console.print("[green]Rien à signaler.[/]")
        case Severity.WARNING:
            console.print(f"[yellow]À surveiller : {counts[Severity.WARNING]}.[/]")
        case Severity.CRITICAL:
            totals = f"{counts[Severity.CRITICAL]} en panne, {counts[Severity.WARNING]} à surveiller"
            console.print(f"[bold red]À réparer : {totals}.[/]")
