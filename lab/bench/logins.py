"""How long a login takes, and whether a hundred wrong ones a second slow the others down.

Over the API's own process. The wrong ones come from a thousand addresses in the names of people who do not exist,
so that hardly any is locked: what stands between them and the processor is that two are hashed at once.
"""

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from services.supervisor.run_info import RunInfo

WRONG_A_SECOND, READS_A_SECOND = 100, 50
ADDRESSES = 1000
LOGINS_ALONE = 20
LOGIN_WITHIN_MS, RATIO_BELOW = 300.0, 2.0
PROXIES = "127.0.0.0/8"  # So that each request may say from where it comes.
TIMEOUT_S, SETTLES_S = 30.0, 3.0


@dataclass(slots=True)
class LoginFigures:
    """Milliseconds: the p95 of requests of each round, and how the wrong passwords were answered."""

    login_ms: float = 0.0
    quiet_p95_ms: list[float] = field(default_factory=list[float])
    attacked_p95_ms: list[float] = field(default_factory=list[float])
    wrong_answers: Counter[int] = field(default_factory=Counter[int])
    reads_failed: int = 0

    @property
    def ratio(self) -> float:
        """By how much the others are slower while wrong passwords arrive: medians of rounds that alternate."""
        return statistics.median(self.attacked_p95_ms) / statistics.median(self.quiet_p95_ms)

    @property
    def is_reached(self) -> bool:
        """Whether both hold, and nobody was turned away for it."""
        return self.login_ms < LOGIN_WITHIN_MS and self.ratio < RATIO_BELOW and not self.reads_failed


async def measure(run: RunInfo, rounds: int, seconds: float) -> LoginFigures:
    """Logins alone first; then rounds, quiet and attacked alternately, of requests of an application."""
    figures = LoginFigures()
    # Shorter than the server's: it ends no connection under a request.
    limits = httpx.Limits(max_connections=500, keepalive_expiry=1.0)
    async with httpx.AsyncClient(
        base_url=run.api_url, timeout=TIMEOUT_S, limits=limits, trust_env=False
    ) as client:
        figures.login_ms = await _logins_alone(client, run)
        await _reads(client, run, seconds, LoginFigures())  # Warm.
        for _ in range(rounds):
            figures.quiet_p95_ms.append(await _reads(client, run, seconds, figures))
            async with _attack(run, figures.wrong_answers):
                figures.attacked_p95_ms.append(await _reads(client, run, seconds, figures))
            await asyncio.sleep(SETTLES_S)  # What was sent and not answered yet.
    return figures


async def _logins_alone(client: httpx.AsyncClient, run: RunInfo) -> float:
    body = {"email": run.login_email, "password": run.login_password}
    took: list[float] = []
    for _ in range(LOGINS_ALONE):
        began = time.monotonic()
        answer = await client.post("/v1/sessions", json=body)
        took.append((time.monotonic() - began) * 1000)
        answer.raise_for_status()
        client.cookies.clear()
    return _p95(took)


async def _reads(client: httpx.AsyncClient, run: RunInfo, seconds: float, figures: LoginFigures) -> float:
    took: list[float] = []

    async def read() -> None:
        began = time.monotonic()
        answer = await client.get("/v1/teams", headers={"Authorization": f"Bearer {run.api_key}"})
        took.append((time.monotonic() - began) * 1000)
        figures.reads_failed += not answer.is_success

    await _paced(read, READS_A_SECOND, seconds)
    return _p95(took)


@asynccontextmanager
async def _attack(run: RunInfo, answers: Counter[int]) -> AsyncGenerator[None]:
    number, where = 0, urlsplit(run.api_url)

    async def guess() -> None:
        nonlocal number
        number += 1
        body = json.dumps({"email": f"personne{number}@inconnu.example", "password": "faux mot de passe"})
        address = f"198.18.{number % ADDRESSES // 250}.{number % 250 + 1}"
        # By a bare socket: of a client library the processor would have more to do than of the answers.
        reading, writing = await asyncio.open_connection(where.hostname, where.port)
        writing.write(
            f"POST /v1/sessions HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
            f"X-Forwarded-For: {address}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            f"{body}".encode()
        )
        answer = await reading.read()
        writing.close()
        answers[int(answer[9:12])] += 1

    attacking = asyncio.create_task(_paced(guess, WRONG_A_SECOND, 3600.0))
    try:
        yield
    finally:
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)


async def _paced(ask: Callable[[], Coroutine[None, None, None]], a_second: int, seconds: float) -> None:
    """Begin one after the other at an even rate, however long the answers take; then wait for them."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(a_second * seconds)):
            await asyncio.sleep(max(0.0, began + number / a_second - time.monotonic()))
            tasks.create_task(ask())


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
