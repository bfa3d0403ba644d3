"""The states of a work order: which change leads where, and what it is called in its history."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATES = ("open", "assigned", "in_progress", "done", "cancelled")
ENDED = frozenset({"done", "cancelled"})
PRIORITIES = ("low", "normal", "high", "urgent")
PRIORITY_OF = {"info": "low", "warning": "normal", "major": "high", "critical": "urgent"}
"""The priority of a work order that an alert of this severity opens."""
# What may be said of an ended work order without opening it again.
OF_ENDED = frozenset({"state", "resolution", "external_reference"})
EVENT_OF = {"opened": "work_order.opened", "done": "work_order.closed", "cancelled": "work_order.closed"}


class ImpossibleChange(ValueError):
    """A change that a work order does not take; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a work order decides where a change leads."""

    state: str = "open"
    team_id: int | None = None
    assignee: str | None = None
    resolution: str = ""


def standing_after(former: Standing, given: Mapping[str, Any]) -> Standing:
    """Where the work order stands after this change, in which a field that is absent stays as it is.

    Naming somebody assigns an open one. Opened again, it has no resolution any more.

    Raises:
        ImpossibleChange: it has ended and stays so, or what the new state demands is missing.
    """
    wanted: str | None = given.get("state")
    is_opened_again = wanted is not None and former.state in ENDED and wanted not in ENDED
    team_id = given.get("team_id", former.team_id)
    assignee = given.get("assignee", former.assignee)
    resolution: str = given.get("resolution", "" if is_opened_again else former.resolution) or ""
    if former.state in ENDED and not is_opened_again and given.keys() - OF_ENDED:
        raise ImpossibleChange("cette intervention est finie : rouvrez-la d'abord (`state`)")
    state = former.state if wanted is None else wanted
    if wanted is None and state == "open" and assignee is not None:
        state = "assigned"
    if wanted is None and state == "assigned" and assignee is None and team_id is None:
        state = "open"
    if state == "assigned" and assignee is None and team_id is None:
        raise ImpossibleChange("dites à qui elle est confiée : `assignee` ou `team_id`")
    if state == "done" and not resolution:
        raise ImpossibleChange("dites ce qui a été fait : `resolution`")
    if state == "cancelled" and not resolution:
        raise ImpossibleChange("dites pourquoi elle est annulée : `resolution`")
    return Standing(state, team_id, assignee, resolution)


def action_of(former: Standing, after: Standing) -> str:
    """What the history calls a change from one to the other; `changed` when its state did not decide."""
    if after.state in ENDED:
        return after.state if after.state != former.state else "changed"
    if former.state in ENDED:
        return "reopened"
    if after.state == "in_progress" and former.state != "in_progress":
        return "started"
    is_other = (after.team_id, after.assignee) != (former.team_id, former.assignee)
    if after.state == "assigned" and (is_other or former.state != "assigned"):
        return "assigned"
    return "changed"


def event_of(action: str) -> str:
    """The type of the webhook message about an action."""
    return EVENT_OF.get(action, "work_order.changed")
