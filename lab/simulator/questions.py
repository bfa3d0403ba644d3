"""Four of the questions of docs/api.md, each asked by one call while the demonstration goes on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from rich.console import Console
from rich.markup import escape

from lab.fleet.communes import INSEE
from lab.fleet.provision import Provisioner, ProvisioningFailed

# By then devices have joined and sent; a demonstration of a minute and a half is still on the air.
ASKED_AFTER_S = 60.0
SHOWN = "3"

Line = Callable[[dict[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody wants to know, the call that answers it, and how one item of the answer is shown."""

    asked_by: str
    text: str
    path: str
    query: dict[str, str]
    line: Line

    @property
    def call(self) -> str:
        """As one types it."""
        return f"{self.path}?{urlencode(self.query)}"


def _place(item: dict[str, Any]) -> str:
    return ", ".join(str(part) for part in (item.get("asset"), item.get("commune")) if part)


def _percent(value: float | None) -> str:
    return "inconnue" if value is None else f"{value:.0f} %"


QUESTIONS = (
    Question(
        "une commune",
        "mes bacs, le plus plein d'abord ?",
        "/v1/measurements/latest",
        {"commune": INSEE[0], "quantity": "fill_level", "sort": "-value", "limit": SHOWN},
        lambda item: f"{_percent(item['value'])}  actif {item['asset_id']}, à {item['time'][11:19]} UTC",
    ),
    Question(
        "un technicien",
        "quelles piles changer d'abord ?",
        "/v1/devices",
        {"sort": "battery_percent", "limit": SHOWN},
        lambda item: f"{_percent(item['battery_percent'])}  {item['name']} ({_place(item)})",
    ),
    Question(
        "une GMAO",
        "quelles interventions restent à faire ?",
        "/v1/work-orders",
        {"state": "open", "limit": SHOWN},
        lambda item: f"{item['title']} ({_place(item)})",
    ),
    Question(
        "une start-up",
        "qu'est-ce qui est arrivé, sans rien manquer ?",
        "/v1/measurements",
        {"after": "oldest", "limit": SHOWN},
        lambda item: f"{item['quantity']} {item['value']}  flux {item['datastream_id']}, {item['change']}",
    ),
)


async def ask_questions(api: Provisioner, console: Console) -> None:
    """Show each question with its call and the first items of its answer, once."""
    await asyncio.sleep(ASKED_AFTER_S)
    for question in QUESTIONS:
        console.print(f"[bold]{question.asked_by}[/] : {question.text}\n  GET {escape(question.call)}")
        try:
            answer = await api.get(question.path, **question.query)
        except (ProvisioningFailed, httpx.HTTPError) as failed:
            console.print(f"    sans réponse : {escape(str(failed))}", highlight=False)
            continue
        items: list[dict[str, Any]] = answer["items"]
        for line in [question.line(item) for item in items] or ["rien"]:
            console.print(f"    {escape(line)}", highlight=False, soft_wrap=True)
