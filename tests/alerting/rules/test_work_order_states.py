"""Where each change leads a work order, and what its history calls it."""

from typing import Any

import pytest

from alerting.rules.work_order_states import ImpossibleChange, Standing, action_of, standing_after

MINE = Standing("assigned", assignee="M. Le Goff")
DONE = Standing("done", resolution="réparé")


@pytest.mark.parametrize(
    ("former", "given", "state", "action"),
    [
        (Standing(), {"assignee": "M. Le Goff"}, "assigned", "assigned"),
        (Standing(), {"team_id": 5}, "open", "changed"),
        (Standing(), {"team_id": 5, "state": "assigned"}, "assigned", "assigned"),
        (MINE, {"assignee": None}, "open", "changed"),
        (MINE, {"assignee": "Mme Kerdoncuff"}, "assigned", "assigned"),
        (MINE, {"state": "in_progress"}, "in_progress", "started"),
        (MINE, {"state": "done", "resolution": "réparé"}, "done", "done"),
        (Standing("in_progress"), {"state": "cancelled", "resolution": "doublon"}, "cancelled", "cancelled"),
        (DONE, {"state": "open"}, "open", "reopened"),
        (DONE, {"resolution": "réparé, joint changé"}, "done", "changed"),
        (DONE, {"external_reference": "OT-1"}, "done", "changed"),
        (DONE, {"state": "done"}, "done", "changed"),
    ],
)
def test_a_change_leads_to_a_state(former: Standing, given: dict[str, Any], state: str, action: str) -> None:
    after = standing_after(former, given)

    assert (after.state, action_of(former, after)) == (state, action)
    assert (after.resolution == "") == (state not in {"done", "cancelled"})


@pytest.mark.parametrize(
    ("former", "given", "why"),
    [
        (Standing(), {"state": "assigned"}, "à qui"),
        (MINE, {"state": "done"}, "ce qui a été fait"),
        (MINE, {"state": "done", "resolution": ""}, "ce qui a été fait"),
        (MINE, {"state": "cancelled"}, "pourquoi"),
        (DONE, {"assignee": "Mme Kerdoncuff"}, "rouvrez-la"),
        (DONE, {"state": "done", "title": "autre"}, "rouvrez-la"),
    ],
)
def test_what_a_state_demands_is_said(former: Standing, given: dict[str, Any], why: str) -> None:
    with pytest.raises(ImpossibleChange, match=why):
        standing_after(former, given)
