"""The parts of pages that change by themselves, as one rendering for all who may see the same."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.auth import Caller
from api.console.language import Language
from api.console.rendering import render
from api.console.supervision.views import read_supervised


@dataclass(frozen=True, slots=True)
class Rendering:
    """Texts by the name of their event, and when they were true."""

    at: datetime
    texts: dict[str, str]
    assets: frozenset[int]
    """Which assets an alert of these texts is about: who reads them reads about those."""


async def render_fragments(caller: Caller, language: Language) -> Rendering:
    """As everybody of the caller's tenant and role sees them: no text names the caller or holds a token."""
    supervised = await read_supervised(caller)
    content = {"language": language, "now": datetime.now(UTC), "is_live": True, **supervised.content()}
    texts = {
        name: render(f"supervision/{name}.html", language, content).strip()
        for name in ("figures", "alerts", "todo", "count")
    }
    shown: list[Any] = [*supervised.alerts]
    assets = frozenset(alert.asset_id for alert in shown if alert.asset_id is not None)
    return Rendering(supervised.overview.at, texts | {"states": supervised.overview.digest}, assets)
