import asyncio

import httpx
import pytest

from core.runtime.health import QuietServer, Readiness, serve_health


async def fine() -> str | None:
    return None


async def wrong() -> str | None:
    return "the disk is full"


async def test_a_service_whose_checks_are_content_is_ready() -> None:
    assert await Readiness({"database": fine}).problems() == {}


async def test_says_what_is_wrong_by_name() -> None:
    assert await Readiness({"database": fine, "disk": wrong}).problems() == {"disk": "the disk is full"}


async def test_a_driver_that_raises_is_a_problem_and_no_crash() -> None:
    async def away() -> str | None:
        raise ConnectionRefusedError("nobody there")

    assert await Readiness({"database": away}).problems() == {"database": "nobody there"}


async def test_a_check_that_hangs_and_cannot_be_cancelled_is_a_problem_until_it_answers() -> None:
    release = asyncio.Event()

    async def frozen() -> str | None:
        await release.wait()
        return None

    readiness = Readiness({"database": frozen, "bus": fine})
    first = await readiness.problems()
    release.set()
    await asyncio.sleep(0)
    second = await readiness.problems()

    assert first == {"database": "no answer within 2 s"}
    assert second == {}


async def test_serves_the_three_pages() -> None:
    async with serve_health(Readiness({"disk": wrong}), "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        base = f"http://127.0.0.1:{port}"
        live, ready = await client.get(f"{base}/livez"), await client.get(f"{base}/readyz")
        metrics, other = await client.get(f"{base}/metrics"), await client.get(f"{base}/other")

    assert (live.status_code, ready.status_code, metrics.status_code, other.status_code) == (200, 503, 200, 404)
    assert ready.json()["problems"] == {"disk": "the disk is full"}
    assert "python_info" in metrics.text
    for answer in (live, ready, metrics, other):
        assert answer.headers["content-security-policy"] == "default-src 'none'"
        assert (answer.headers["x-content-type-options"], answer.headers["x-frame-options"]) == ("nosniff", "DENY")


async def test_a_server_that_nobody_asks_wakes_once_a_second_and_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks, on_tick = list[float](), QuietServer.on_tick
    loop = asyncio.get_running_loop()

    async def counted(server: QuietServer, counter: int) -> bool:
        ticks.append(loop.time())
        return await on_tick(server, counter)

    monkeypatch.setattr(QuietServer, "on_tick", counted)
    async with serve_health(Readiness({"database": fine}), "127.0.0.1", 0):
        await asyncio.sleep(0.6)
        assert len(ticks) == 1
        ends_at = loop.time()

    assert ticks[1] - ends_at < 0.3  # It is woken, and does not wait for its next look.


async def test_two_who_ask_at_once_are_told_the_same() -> None:
    asked = 0

    async def slow() -> str | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return "the disk is full"

    readiness = Readiness({"disk": slow})

    assert await asyncio.gather(readiness.problems(), readiness.problems()) == [{"disk": "the disk is full"}] * 2
    assert asked == 1


async def test_the_metrics_show_whether_it_is_ready() -> None:
    readiness = Readiness({"disk": wrong})
    async with serve_health(readiness, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        before = await client.get(f"http://127.0.0.1:{port}/metrics")
        readiness.checks = {"disk": fine}
        after = await client.get(f"http://127.0.0.1:{port}/metrics")

    assert "\nterritoire_ready 0.0\n" in before.text
    assert "\nterritoire_ready 1.0\n" in after.text
