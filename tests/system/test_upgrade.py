"""An upgrade under load, each replica once the former is ready, and one release back."""

import pytest

from lab.chaos.cases import find_case
from lab.chaos.stage import Stage

SECONDS = 60.0

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]


async def test_an_upgrade_and_the_way_back_lose_nothing(stage: Stage) -> None:
    case = find_case("upgrade")
    assert case is not None

    outcome = await stage.play(case, SECONDS)

    assert outcome.holds, outcome.as_dict()
