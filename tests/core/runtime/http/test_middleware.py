import asyncio

import httpx
import pytest

from core.runtime.http.middleware import OuterMiddleware


async def test_a_request_that_hangs_is_answered_503_and_what_it_says_later_is_not_received(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.runtime.http.middleware.ANSWER_WITHIN_S", 0.05)
    release, ended = asyncio.Event(), asyncio.Event()

    async def frozen(_scope, _receive, send) -> None:
        """As a driver that waits for a frozen server: it does not return from a cancellation either."""
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"too late"})
        ended.set()

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(OuterMiddleware(frozen)), base_url="http://api"
    ) as client:
        answer = await client.get("/v1/assets")
        release.set()
        await ended.wait()

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["detail"] == "la base de données ne répond pas, réessayez"
