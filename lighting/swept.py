"""What a sweep has done, and how people are asked to look at what it could not do."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from core.runtime.bus import BUS_AWAY
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Connection
from lighting import open_command_store
from registry.alert_requests import request_relight_alert

log = structlog.get_logger()


@dataclass(slots=True)
class Swept:
    """What one sweep did: slots to nudge, outcomes to count."""

    slots: set[int] = field(default_factory=set[int])
    outcomes: list[str] = field(default_factory=list[str])
    application_delays_s: list[float] = field(default_factory=list[float])


async def order_work(connection: Connection, command_id: int, asset_id: int, why: str, now: datetime) -> None:
    """An alert, once for a command: `why`, in French, it does not light."""
    await request_relight_alert(connection, asset_id, why, now)
    await open_command_store.set_work_order(connection, command_id, now)


@contextmanager
def put_off(about: str) -> Generator[None]:
    """A sweep that fails, be it that a server is away, is tried again with its next turn, and stops no other."""
    try:
        with alone(about):
            yield
    except (*DATABASE_AWAY, *BUS_AWAY) as away:
        log.warning("sweep_put_off", about=about, error=describe(away))


@contextmanager
def alone(about: str, number: int = 0) -> Generator[None]:
    """A defect that one row lays bare costs that row, and no other street its light."""
    try:
        yield
    except (*DATABASE_AWAY, *BUS_AWAY):
        raise
    except Exception:
        log.exception("sweep_defect", about=about, number=number)
