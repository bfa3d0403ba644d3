"""What a sweep has done, and how people are asked to look at what it could not do."""

from dataclasses import dataclass, field
from datetime import datetime

from core.runtime.postgres import Connection
from lighting import store
from registry.alert_requests import request_relight_alert


@dataclass(slots=True)
class Swept:
    """What one sweep did: slots to nudge, outcomes to count."""

    slots: set[int] = field(default_factory=set[int])
    outcomes: list[str] = field(default_factory=list[str])
    application_delays_s: list[float] = field(default_factory=list[float])


async def order_work(connection: Connection, command_id: int, asset_id: int, why: str, now: datetime) -> None:
    """An alert, once for a command: `why`, in French, it does not light."""
    await request_relight_alert(connection, asset_id, why, now)
    await store.set_work_order(connection, command_id, now)
