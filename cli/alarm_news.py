"""What is new since the operator was last notified: what turned bad, and what is good again. Pure.

A finding is believed once two examinations in a row have seen it, so that a restart wakes nobody; what nobody can
be wrong about (a unit that failed) is notified at once. What stays bad is notified again every day.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from cli.findings import Finding, Severity

# Less than a day: what fails every night, at an hour that varies, is notified every night.
REPEATED_AFTER = timedelta(hours=23)


class Known(msgspec.Struct, frozen=True):
    """A subject that is bad. `notified_at`: None until the operator was."""

    finding: Finding
    notified_at: datetime | None = None


class News(msgspec.Struct, frozen=True):
    """What is to be notified now."""

    bad: list[Finding]
    good: list[Finding]

    def __bool__(self) -> bool:
        """Whether there is anything to notify."""
        return bool(self.bad or self.good)


def news(
    known: Mapping[str, Known], findings: Iterable[Finding], now: datetime, *, at_once: bool = False
) -> tuple[News, dict[str, Known]]:
    """What to notify, and what is known once it was.

    `known`: by subject, as the examination before left it. `at_once`: a single sight is enough.
    """
    bad: list[Finding] = []
    after: dict[str, Known] = {}
    for subject, finding in _worst_by_subject(findings).items():
        before = known.get(subject)
        is_sure = at_once or before is not None
        if is_sure and _is_due(before, finding, now):
            bad.append(finding)
            after[subject] = Known(finding, now)
        else:
            after[subject] = Known(finding, None if before is None else before.notified_at)
    good = [one.finding for subject, one in known.items() if subject not in after and one.notified_at is not None]
    return News(bad, good), after


def _is_due(before: Known | None, finding: Finding, now: datetime) -> bool:
    if before is None or before.notified_at is None:
        return True
    return before.finding.severity < finding.severity or before.notified_at <= now - REPEATED_AFTER


def _worst_by_subject(findings: Iterable[Finding]) -> dict[str, Finding]:
    worst: dict[str, Finding] = {}
    for finding in findings:
        before = worst.get(finding.subject)
        if finding.severity is not Severity.GOOD and (before is None or before.severity < finding.severity):
            worst[finding.subject] = finding
    return worst


def subject_of(host: str, report: News) -> str:
    """One line: the worst first."""
    if not report.bad:
        return f"Territoire ({host}) : rétabli"
    is_broken = any(finding.severity is Severity.CRITICAL for finding in report.bad)
    what = ", ".join(finding.subject for finding in report.bad)
    return f"Territoire ({host}) : {'en panne' if is_broken else 'à surveiller'} : {what}"


def text_of(report: News) -> str:
    """The letter, in French."""
    lines: list[str] = []
    for finding in report.bad:
        mark = "EN PANNE" if finding.severity is Severity.CRITICAL else "À SURVEILLER"
        lines += [f"{mark} : {finding.subject} : {finding.what}", f"  À faire : {finding.remedy}", ""]
    if report.good:
        lines += ["RÉTABLI :", *(f"  {finding.subject} ({finding.what})" for finding in report.good), ""]
    return "\n".join(lines)
