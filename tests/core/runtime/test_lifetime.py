import asyncio

import pytest

from core.runtime.lifetime import raise_if_cancelled


async def test_a_cancellation_that_comes_together_with_an_answer_is_not_forgotten() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ask() -> str:
        answered = await asyncio.wait_for(answer, 10)
        raise_if_cancelled()
        return answered

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    answer.set_result("too late")
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
