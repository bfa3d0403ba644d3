"""What people decide by, asked of the months behind the demonstration: known from how they were made."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from rich.console import Console
from rich.markup import escape

from core.model.calendar_buckets import moved
from lab.fleet.provision import Provisioner, ProvisioningFailed
from lab.history.showcase import COMMUNE, ICONES, SAVED, SCHOOL
from lab.history.showcase_load import COST_CENTS, Written

# By then the fleet is on the air, and what changed by registering it has been looked at.
ASKED_AFTER_S = 65.0
# Months differ from degree days by a few per cent, as they do.
SAVED_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Figure:
    """What somebody wants to know, the call that answers it, and what has to come out."""

    asked_by: str
    text: str
    path: str
    query: dict[str, str]
    unit: str
    expected: float
    within: float
    read: Callable[[dict[str, Any]], float]

    @property
    def call(self) -> str:
        """As one types it."""
        return f"{self.path}?{urlencode(self.query)}"


def figures_of(written: Written) -> list[Figure]:
    """Of every capability one or two."""
    showcase = written.showcase
    month, after = showcase.month, showcase.after
    days = {"from": month.isoformat(), "to": after.isoformat(), "kind": "glass_container", "commune": COMMUNE}
    one_month = {"from": f"{month:%Y-%m}", "to": f"{month:%Y-%m}"}
    year = {"from": f"{moved(after, 'month', -12):%Y-%m}", "to": f"{month:%Y-%m}"}
    above, unknown = showcase.full_days()
    return [
        Figure(
            "une élue", f"combien de jours de bornes pleines à {COMMUNE} le mois dernier ?",
            "/v1/waste/days-above", days | {"by": "commune"}, "jours", above, 0.01,
            lambda found: found["items"][0]["above"],
        ),
        Figure(
            "une élue", "et combien de jours dont personne ne sait rien ?", "/v1/waste/days-above",
            days | {"by": "commune"}, "jours", unknown, 0.01, lambda found: found["items"][0]["unknown"],
        ),
        Figure(
            "un collecteur", "combien de vidages le mois dernier ?", "/v1/waste/emptyings", days, "vidages",
            showcase.emptyings(), 0, lambda found: len(found["items"]),
        ),
        Figure(
            "une économe de flux", "qu'ont économisé les travaux de l'école ?",
            "/v1/indicators/buildings/savings", year, "%", 100 * SAVED, SAVED_WITHIN,
            lambda found: _of(found, SCHOOL)["percent"],
        ),
        *(
            Figure(
                "une directrice d'école", f"quel est l'indice ICONE de la {name.lower()} ?",
                "/v1/indicators/buildings/air", one_month, "", icone, 0.01,
                lambda found, name=name: _room(found, name),
            )
            for name, icone in ICONES.items()
        ),
        Figure(
            "un service des eaux", "combien a coûté la fuite de l'école ?", "/v1/indicators/buildings/leaks",
            one_month, "litres", showcase.leaked_litres, 1, lambda found: _of(found, SCHOOL)["litres"],
        ),
        Figure(
            "un syndicat d'énergie", "combien ont consommé les armoires du centre ?", "/v1/indicators/lighting",
            {"month": f"{month:%Y-%m}", "commune": COMMUNE}, "kWh", showcase.lighting_kwh(), 0.01,
            lambda found: found["items"][0]["kwh"],
        ),
        Figure(
            "un exploitant du réseau", "combien de zones blanches ?", "/v1/network/coverage",
            {"state": "white", "commune": COMMUNE}, "actifs", written.white_zones, 0,
            lambda found: len(found["items"]),
        ),
        Figure(
            "un syndicat mixte", f"combien se partagent les membres pour {written.cost_year} ?",
            "/v1/cost-statements", {"limit": "1"}, "euros", COST_CENTS / 100, 0,
            lambda found: found["items"][0]["total_cents"] / 100,
        ),
    ]  # fmt: skip


def _of(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in found["items"] if item["name"] == name)


def _room(found: dict[str, Any], name: str) -> float:
    return next(room["co2"]["icone"] for room in _of(found, SCHOOL)["rooms"] if room["name"] == name)


@dataclass(slots=True)
class Decisions:
    """The figures, and what came of asking for them."""

    api: Provisioner
    written: Written
    console: Console
    asked: int = 0
    wrong: list[str] = field(default_factory=list[str])

    async def carry_out(self, after_s: float = ASKED_AFTER_S) -> None:
        """Ask for each of them once, and show it beside what was to come out."""
        await asyncio.sleep(after_s)
        for figure in await asyncio.to_thread(figures_of, self.written):
            value = await self._ask(figure)
            self.asked += 1
            is_right = value is not None and abs(value - figure.expected) <= figure.within + 1e-9
            said, expected = _french(value, figure.unit), _french(figure.expected, figure.unit)
            if not is_right:
                self.wrong.append(f"{figure.text} {said}, attendu {expected}")
            self.console.print(f"[bold]{figure.asked_by}[/] : {figure.text}\n  GET {escape(figure.call)}")
            verdict = "[green]oui[/]" if is_right else "[red]NON[/]"
            self.console.print(
                f"    {said} ; compté en fabriquant l'historique : {expected} {verdict}", highlight=False
            )

    async def _ask(self, figure: Figure) -> float | None:
        try:
            return figure.read(await self.api.get(figure.path, **figure.query))
        except (ProvisioningFailed, httpx.HTTPError, LookupError, StopIteration) as failed:
            self.console.print(f"    sans réponse : {escape(repr(failed))}", highlight=False)
            return None


def _french(value: float | None, unit: str) -> str:
    if value is None:
        return "rien"
    number = f"{value:,.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}"
    return f"{number.replace(',', ' ').replace('.', ',')} {unit}".rstrip()
