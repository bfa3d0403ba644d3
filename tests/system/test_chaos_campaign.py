"""A lighting campaign goes on when what carries it is killed, and each of its commands ends once."""

import pytest

from lab.chaos.cases import CASES
from lab.chaos.stage import Stage

CAMPAIGN = next(case for case in CASES if case.name == "lighting-campaign")
LASTS_S = 8.0

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


async def test_a_campaign_in_which_lighting_is_killed_ends_as_one_that_was_left_in_peace(stage: Stage) -> None:
    outcome = await stage.play(CAMPAIGN.quick, LASTS_S)

    assert outcome.holds, outcome.as_dict()
