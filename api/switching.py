"""What is sent to a device that switches, by whatever route, takes a right and says why."""

from api.auth import Caller
from core.runtime.http.errors import invalid

REASON_TEXT = "Motif, gardé dans l'audit ; demandé pour un appareil qui commute"


def demand_right_to_switch(caller: Caller) -> None:
    """Raises 403 without `lighting` or `operate`."""
    if not caller.has("operate"):
        caller.demand("lighting")


def demand_reason(reason: str) -> None:
    """Raises 422 when a command to a device that switches does not say why."""
    if not reason.strip():
        raise invalid("reason", "missing", "un motif est demandé : cet appareil commute")
