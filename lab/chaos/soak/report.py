"""The report of a soak: one page with the console's library of charts in it, so that it is read anywhere."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from lab.chaos.outcome import Outcome
from lab.chaos.soak.goals import FAILED, Judged, findings
from lab.chaos.soak.samples import Curve, Samples

LIBRARIES = Path(__file__).resolve().parents[3] / "api" / "console" / "libraries"
TITLES = {
    "memory": "Mémoire par processus (PSS, Mo)",
    "descriptors": "Descripteurs ouverts",
    "tasks": "Tâches asyncio",
    "connections": "Connexions à PostgreSQL",
    "backlog": "Messages en attente dans les flux",
    "bloat": "Lignes mortes (% des lignes)",
    "size": "Taille de la base (Mo)",
}
PAGE = Path(__file__).with_name("report.html")


def write_report(
    path: Path, samples: Samples, judged: Sequence[Judged], warm_up_s: float, outcomes: Sequence[Outcome]
) -> None:
    """Write the page."""
    curves = list(samples.curves.values())
    goals = [goal for goal in TITLES if any(curve.goal == goal for curve in curves)]
    missed = len(findings(judged))
    sent, stored = (sum(getattr(one.account, name) for one in outcomes) for name in ("sent", "stored"))
    missing = sum(one.account.missing + one.account.duplicates for one in outcomes)
    page = Template(PAGE.read_text("utf-8")).substitute(
        css=(LIBRARIES / "uplot.css").read_text("utf-8"),
        library=(LIBRARIES / "uplot.js").read_text("utf-8"),
        verdict="rien ne grandit" if not missed else f"courbes qui grandissent ou n'ont rien montré : {missed}",
        summary=html.escape(
            f"{max((curve.times_s[-1] for curve in curves), default=0) / 60:.0f} minutes, {sent} trames émises, "
            f"{stored} enregistrées, {missing} manquantes ou en double, {samples.misses} mesures impossibles."
        ),
        rows="\n".join(_row(one) for one in judged),
        charts="\n".join(f'<h3>{TITLES[goal]}</h3><div id="{goal}"></div>' for goal in goals),
        data=json.dumps([_chart(goal, [curve for curve in curves if curve.goal == goal]) for goal in goals]),
        warm_up=warm_up_s / 60,
    )
    path.write_text(page, "utf-8")


def _row(one: Judged) -> str:
    slope, kind = one.slope, ' class="missed"' if one.verdict in FAILED else ""
    cells = (
        f"{one.curve.goal} : {one.curve.name}",
        f"{slope.level:.1f} {one.curve.unit}",
        f"{slope.per_period:+.3f}",
        f"{slope.low:+.3f} à {slope.high:+.3f}",
        f"{one.allowed:.3f}",
        one.verdict.value,
    )
    return f"<tr{kind}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _chart(goal: str, curves: Sequence[Curve]) -> dict[str, Any]:
    """Every curve at every instant at which one was looked at."""
    instants = sorted({at for curve in curves for at in curve.times_s})
    columns: list[list[float | None]] = [[round(at / 60, 2) for at in instants]]
    for curve in curves:
        known = dict(zip(curve.times_s, curve.values, strict=True))
        columns.append([round(known[at], 2) if at in known else None for at in instants])
    return {"id": goal, "names": [curve.name for curve in curves], "data": columns}
