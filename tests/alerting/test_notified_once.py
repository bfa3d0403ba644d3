"""The thirty days with a team: each endpoint receives exactly these messages, whatever is killed and how often.

Everything that takes part is killed: the evaluator by `crashes`, in whose place a rollback and an empty memory are
as hard as a kill, since it has no socket of its own; dispatch and the sender as a process of their own by SIGKILL,
before and after their statements and the queue's, and while a receiver on a socket holds their request.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alerting import alert_store, teams
from alerting.message_formats import SEVERITY_WORDS
from alerting.rules.alert_lifecycle import ENDED
from core.runtime.postgres import Pool
from tests.alerting.alert_scenario import PARIS, Days, on, scenario_of
from tests.alerting.conftest import LOOPBACK, Receiver, receiving
from tests.alerting.crashes import Fuse
from tests.alerting.mortal_sender import KEYS, deaths_of
from tests.alerting.sending import emptied, until
from tests.alerting.test_trace import EXPECTED as THIRTY_DAYS
from tests.proved import create_proved_endpoint

SEED = 3
# Local instant, who, event, severity, text: checked by hand against thirty_days.txt, the team's hours, its ladder.
EXPECTED = (Path(__file__).parent / "thirty_days_team.txt").read_text("utf-8").splitlines()
MOST_DELIVERED = """
SELECT max(n) FROM (SELECT count(*) AS n FROM webhook_attempt WHERE outcome = 'delivered'
                    GROUP BY endpoint_id, message_id) AS made
"""
AFTER_S = {"agent": 1800, "chef": 1800, "directeur": 7200}


@dataclass
class Mortal:
    """The process, as its tests see it."""

    process: asyncio.subprocess.Process
    pid: int = 0
    done: int = 0
    asked: str = ""
    deaths: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def _say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(self.asked.encode())

    async def listen(self) -> None:
        """What it prints, until it ends; the process that replaces a dead one is asked once more."""
        assert self.process.stdout is not None
        place: tuple[str, ...] = ()
        async for line in self.process.stdout:
            match line.decode().split():
                case ["born", pid]:
                    self.pid = int(pid)
                case ["at", *words]:
                    place = tuple(words)
                case ["done", number]:
                    self.done = int(number)
                case _:
                    self.deaths.append(place)
                    place = ()
                    self._say()
            async with self.changed:
                self.changed.notify_all()

    async def dispatch(self, now: datetime) -> None:
        """Once, to the end, however often it dies meanwhile."""
        number = self.done + 1
        self.asked = f"{number} {now.isoformat()}\n"
        self._say()
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: self.done == number)


@asynccontextmanager
async def mortal(url: str, seed: int) -> AsyncGenerator[Mortal]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.alerting.mortal_sender", url, str(seed),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    sender = Mortal(process)
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(sender.listen())
        try:
            yield sender
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(20):
                    status = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                listening.cancel()
    assert status == 0


@dataclass
class Deadly(Receiver):
    """Kills the process that sends some of its requests before it answers, and fails others."""

    name: str = ""
    sender: Mortal | None = None
    kills: frozenset[int] = frozenset()
    fails: frozenset[int] = frozenset()
    octets: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict[str, set[bytes]](set))

    async def record_delivery(self, headers: dict[str, str], content: bytes) -> int:
        await super().record_delivery(headers, content)
        self.octets[headers["webhook-id"]].add(content)
        if len(self.requests) in self.kills and self.sender is not None:
            os.kill(self.sender.pid, signal.SIGKILL)
        return 503 if len(self.requests) in self.fails else 204

    def notifications(self) -> list[tuple[datetime, str]]:
        """Each message once, as a line, and its instant: by itself, or in the story of what took its place."""
        bodies = {request["id"]: request["body"] for request in self.requests}
        for body in list(bodies.values()):
            for earlier in body["data"].get("story", []):
                bodies.setdefault(earlier["id"], earlier | {"data": earlier})
        return [line_of(self.name, body) for body in bodies.values()]


def line_of(name: str, body: dict[str, Any]) -> tuple[datetime, str]:
    """A message as thirty_days_team.txt has it."""
    data = body["data"]
    at = datetime.fromisoformat(body["timestamp"]).astimezone(PARIS)
    text = data["message"]
    if "alerts" in data:
        listed = (
            f"[{SEVERITY_WORDS[one['severity']]}{', terminée' if one['is_over'] else ''}] {one['message']}"
            for one in data["alerts"]
        )
        text = " ".join((text, *listed))
    text = text.replace("\u00a0", " ").replace(" (rue de Siam, Brest)", "")
    severity = data.get("severity", "-")
    return at, f"{at:%d/%m %H:%M} | {name} | {body['type'].removeprefix('alert.')} | {severity} | {text}"


async def employ(pool: Pool, tenant_id: int, receivers: list[Deadly]) -> None:
    """A team that is quiet by night and on days off, for every rule; a ladder of three."""
    hours = {
        "name": "Astreinte",
        "quiet_from": time(20),
        "quiet_until": time(7),
        "quiet_on_days_off": True,
        "digest_at": time(7, 30),
        "sensor_health": False,
    }
    await pool.execute("UPDATE tenant SET webhook_allow_list = $1", LOOPBACK)
    await pool.execute("DELETE FROM webhook_endpoint")
    async with pool.acquire() as connection, connection.transaction():
        team = await teams.create_team(connection, tenant_id, hours)
        for rung, receiver in enumerate(receivers):
            endpoint, receiver.secret = await create_proved_endpoint(connection, KEYS, tenant_id, receiver.url)
            await teams.create_contact(
                connection, team.id, receiver.name, rung, AFTER_S[receiver.name], endpoint.id
            )
        await connection.execute("UPDATE alert_rule SET team_id = $1", team.id)


def answer(days: Days, day: int, hour: float, rule: str) -> None:
    """At this hour somebody takes the latest alert of this rule."""

    async def act() -> None:
        pool = days.town.pool
        alerts = await alert_store.list_alerts(pool)
        alert = next(one for one in alerts if one.rule == rule and one.workflow not in ENDED)
        async with pool.acquire() as connection, connection.transaction():
            await alert_store.acknowledge(connection, alert.id, "chef")

    days.people.append((on(day, hour), act))


@pytest.mark.timeout(600)  # A month of statements, at whatever pace the machine has.
async def test_a_team_gets_the_same_notifications_once_whatever_crashes(pool: Pool, database_url: str) -> None:
    chance = random.Random(SEED)
    receivers = [
        Deadly(
            name=name,
            kills=frozenset(chance.sample(range(1, 15), 3)),
            fails=frozenset(chance.sample(range(1, 15), 3)),
        )
        for name in AFTER_S
    ]
    async with AsyncExitStack() as stack:
        days = await stack.enter_async_context(scenario_of(pool, Fuse(2, 600)))
        for receiver in receivers:
            await stack.enter_async_context(receiving(receiver))
        await employ(pool, days.town.tenant_id, receivers)
        answer(days, 2, 8, "device_silent")
        answer(days, 9, 10, "bin_75")
        sender = await stack.enter_async_context(mortal(database_url, SEED))
        for receiver in receivers:
            receiver.sender = sender
        days.each_hour = sender.dispatch
        await days.play()
        await until(lambda: emptied(pool), within_s=60)
    told = [line for _, line in sorted(one for receiver in receivers for one in receiver.notifications())]
    by_engine = await days.town.notifications()
    by_id = bodies_by_id(receivers)
    in_stories = {
        earlier["id"]
        for receiver in receivers
        for request in receiver.requests
        for earlier in request["body"]["data"].get("story", [])
    }

    assert told == EXPECTED
    # What the engine says is what it says to a tenant without a team; which of two alerts of one instant is first
    # depends on who had to begin again.
    assert sorted(by_engine) == sorted(THIRTY_DAYS)
    # One id is one message, and one message has one id: with whomever, and however often it came. What an address
    # did not take of an alert before, its story, is its own.
    assert all(len(octets) == 1 for receiver in receivers for octets in receiver.octets.values())
    assert all(len(bodies) == 1 for bodies in by_id.values())
    assert len({body for bodies in by_id.values() for body in bodies}) == len(by_id)
    rows = await pool.fetch("SELECT id, body FROM alert_notice WHERE held_until IS NULL")
    at_once = {f"msg_{row['id'].hex}": without_story(row["body"]) for row in rows}
    arrived = {message_id: body for message_id, (body,) in by_id.items() if not is_digest(body)}
    assert arrived.items() <= at_once.items()
    assert at_once.keys() == arrived.keys() | in_stories
    # Of one alert each address got later states later.
    for receiver in receivers:
        latest: dict[int, int] = {}
        for data in (
            request["body"]["data"] for request in receiver.requests if "sequence" in request["body"]["data"]
        ):
            assert data["sequence"] >= latest.get(data["alert"], 0)
            latest[data["alert"]] = data["sequence"]
    # What was noted as delivered is not sent again: nothing was delivered twice.
    assert await pool.fetchval(MOST_DELIVERED) == 1
    # And all of that was hard: every place was died at, requests came twice, some were failed.
    died = Counter(sender.deaths)
    assert {place: died[place] for place in deaths_of(SEED)} == dict.fromkeys(deaths_of(SEED), 1)
    assert died[()] >= sum(len(receiver.kills) for receiver in receivers) // 2
    again = sum(len(receiver.requests) - len(receiver.octets) for receiver in receivers)
    assert again + len(in_stories) > 10
    assert days.deaths > 30


def bodies_by_id(receivers: list[Deadly]) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = defaultdict(set)
    for receiver in receivers:
        for message_id, octets in receiver.octets.items():
            found[message_id] |= {without_story(body) for body in octets}
    return found


def without_story(body: bytes) -> bytes:
    content: dict[str, Any] = msgspec.json.decode(body)
    content["data"].pop("story", None)
    return msgspec.json.encode(content)


def is_digest(body: bytes) -> bool:
    return msgspec.json.decode(body)["type"] == "team.digest"
