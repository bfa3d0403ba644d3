"""What an examination of an installation finds, and how it is shown."""

from datetime import datetime, timedelta
from enum import IntEnum

import msgspec
from rich.console import Console

# Below a fifth PostgreSQL's next large index may fill the disk.
SCARCE = 0.2
STREAM_FILLING = 0.5
BACKUP_OLD = timedelta(hours=36)


class Severity(IntEnum):
    """Also the exit status of `doctor`: the worst that was found."""

    GOOD = 0
    WARNING = 1
    CRITICAL = 2


MARKS = {Severity.GOOD: "[green]✓[/]", Severity.WARNING: "[yellow]![/]", Severity.CRITICAL: "[bold red]✗[/]"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `remedy` says what to do; empty when nothing is to be done."""

    subject: str
    severity: Severity
    what: str
    remedy: str = ""


def good(subject: str, what: str) -> Finding:
    """Nothing is wrong."""
    return Finding(subject, Severity.GOOD, what)


def warning(subject: str, what: str, remedy: str) -> Finding:
    """It works, and will not for long, or not for all."""
    return Finding(subject, Severity.WARNING, what, remedy)


def critical(subject: str, what: str, remedy: str) -> Finding:
    """Something does not work now, or data is in danger."""
    return Finding(subject, Severity.CRITICAL, what, remedy)


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
        console.print(f"{MARKS[finding.severity]} [bold]{finding.subject}[/] : ", end="")
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
