"""Everybody who uses a stack while it is hurt: an LNS that pushes, people who read and switch, who is notified.

Each makes the same request again until it is answered, as such clients do. Then all that was promised is counted:
each message is one row, one alert and one notification, each command ends once and is carried out, nobody reads
what is a neighbour's.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx

from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.case import Around
from lab.chaos.lighting.cabinets import Street, open_street, place_with_dusk_at
from lab.chaos.lighting.campaign import DUSK_AGO, FINAL, CommandWatch, of_switches, read_commands
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.fleet.tenancy import ALL_ROLES
from lab.radio.clock import now_us
from lab.users.callers import Ask
from lab.users.scenario import Scenario, open_scenario
from registry.tenants import create_api_key

# One alert each; more of them than such a case has time for.
PUSH_EVERY_S, FOREIGN_DEVICES = 0.5, 900
READ_EVERY_S = 0.25
# A gateway that transmits hears nobody: an answer has room between two commands.
COMMANDS_APART_S = 2.0
# A command whose answer was lost is sent again after a minute.
INSISTS_S, ENDS_WITHIN_S, LOOK_EVERY_S = 120.0, 240.0, 0.5
# Behind by more than this is not keeping up.
SLOW_S, NOTIFIED_BEHIND = 2.0, 8
OFF_FOR = timedelta(hours=2)
EXECUTED = "a été exécutée"
READ_OWN = "SELECT id FROM asset WHERE tenant_id = $1"


@dataclass(slots=True)
class Users:
    """Who asks, what was found wrong meanwhile, and what must have come of it."""

    scenario: Scenario
    street: Street
    commands: CommandWatch
    neighbours: set[int]
    """Assets that somebody was shown who may not see them."""

    def keep_up(self) -> bool:
        """Whether everybody was answered a moment ago, and who is to be notified is."""
        now = time.monotonic()
        steady = (self.scenario.pushing, self.scenario.reading)
        answered = all(now - one.answered_at < one.every_s + SLOW_S for one in steady)
        return answered and self.scenario.pushing.asked - len(self.scenario.received.ids) <= NOTIFIED_BEHIND

    async def until_served(self, pool: Pool) -> None:
        """Return once all is notified and each command has ended, or after as long as they may take."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while time.monotonic() < deadline:
            notified = len(self.scenario.received.ids) >= self.scenario.pushing.answered
            with suppress(PostgresError, *DATABASE_AWAY):
                commands = await read_commands(pool, self.street.real.tenant_id)
                if notified and all(one.state in FINAL for one in commands):
                    return
            await asyncio.sleep(LOOK_EVERY_S)

    async def findings(self, pool: Pool, kills: int) -> list[str]:
        """What is not as promised."""
        commands = await read_commands(pool, self.street.real.tenant_id)
        self.commands.look(commands)
        outcome = await self.scenario.outcome(pool)
        own = {row["id"] for row in await pool.fetch(READ_OWN, self.scenario.tenant_id)}
        notified = {body["data"]["asset"]["id"] for body in self.scenario.received.bodies}
        found = of_messages(outcome) + self.commands.findings + of_switches(self.street, commands, kills)
        found += [f"{one.failed} demandes jamais servies" for one in self.scenario.callers if one.failed]
        for what, strangers in (("lus", self.neighbours), ("notifiés", notified - own)):
            found += [f"{len(strangers)} objets d'un voisin {what}"] if strangers else []
        return found + self.scenario.received.wrong


def of_messages(outcome: Mapping[str, Any]) -> list[str]:
    """What became of messages, each of a device of its own and with a value that alarms."""
    taken = outcome["taken"]
    counted = {
        "messages enregistrés": outcome["stored"],
        "équipements entendus": outcome["heard"],
        "alertes": outcome["alerts"],
        "objets en alerte": outcome["alarmed"],
        "notifications": outcome["webhook_ids"],
        "objets notifiés": outcome["assets_notified"],
    }
    found = [f"{count} {what} pour {taken} messages pris" for what, count in counted.items() if count != taken]
    return found + (["aucun message n'a été pris"] if not taken else [])


def in_use(cabinets: int) -> Around:
    """The stack has an LNS, a reader, a receiver of webhooks and so many cabinets, each switched once."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        run, name = scene.processes.run, f"voisin-{now_us()}"
        place = place_with_dusk_at(datetime.now(UTC) - DUSK_AGO)
        async with (
            open_scenario(run, scene.pool, scene.load, name, FOREIGN_DEVICES) as scenario,
            # Which answers the air loses is no property of the stack.
            open_street(scene, cabinets, place, has_collisions=False) as street,
        ):
            await street.report()
            users = await _users(scene, scenario, street)
            scene.signs.append(users.keep_up)
            tasks = [asyncio.create_task(one.run(), name="use the stack") for one in scenario.callers]
            following = users.commands.follow(scene.pool, street.real.tenant_id)
            looking = asyncio.create_task(following, name="look at the commands")
            try:
                yield
                scenario.pushing.stopping.set()
                scenario.reading.stopping.set()
                await asyncio.gather(*tasks)
                await users.until_served(scene.pool)
                found = await users.findings(scene.pool, scene.strikes)
            finally:
                for task in (*tasks, looking):
                    task.cancel()
                await asyncio.gather(*tasks, looking, return_exceptions=True)
        scene.notes.append(
            f"{scenario.pushing.answered} messages d'un LNS, {scenario.reading.answered} lectures, "
            f"{scenario.commanding.answered} ordres, {sum(scenario.received.ids.values())} livraisons"
        )
        if found:
            raise CaseFailed("; ".join(found[:10]))

    return around


async def _users(scene: Scene, scenario: Scenario, street: Street) -> Users:
    """The scenario's, who insist: its reader looks for a neighbour's assets, its user switches the cabinets."""
    own = {row["id"] for row in await scene.pool.fetch(READ_OWN, scene.load.tenant.id)}
    neighbours: set[int] = set()
    key = await create_api_key(scene.pool, street.real.tenant_id, "chaos", ALL_ROLES)
    scenario.pushing.every_s = PUSH_EVERY_S
    scenario.reading.every_s, scenario.reading.ask = READ_EVERY_S, _reading(scene.load.api_key, own, neighbours)
    scenario.commanding.every_s = max(COMMANDS_APART_S, scene.lasting_s / len(street.real.assets))
    scenario.commanding.ask, scenario.commanding.most = (
        _commanding(key, street.real.assets),
        len(street.real.assets),
    )
    for caller in scenario.callers:
        caller.insists_s = INSISTS_S
    return Users(scenario, street, CommandWatch(), neighbours)


def _reading(api_key: str, own: set[int], neighbours: set[int]) -> Ask:
    headers = {"Authorization": f"Bearer {api_key}"}

    async def ask(client: httpx.AsyncClient, url: str, _number: int) -> httpx.Response:
        answer = await client.get(f"{url}/v1/assets?limit=50", headers=headers)
        if answer.is_success:
            neighbours.update({one["id"] for one in answer.json()["items"]} - own)
        return answer

    return ask


def _commanding(api_key: str, assets: Sequence[int]) -> Ask:
    """Each cabinet is put out once, whatever becomes of the answer."""
    until = (datetime.now(UTC) + OFF_FOR).isoformat()

    async def ask(client: httpx.AsyncClient, url: str, number: int) -> httpx.Response:
        body = {"asset_id": assets[number], "action": "off", "off_until": until}
        headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": f"chaos-{number}"}
        answer = await client.post(f"{url}/v1/lighting/commands", json=body, headers=headers)
        # Whoever executed it was killed before it could answer: it says so, and does it no second time.
        was_executed = answer.status_code == HTTPStatus.CONFLICT and EXECUTED in answer.text
        return httpx.Response(HTTPStatus.OK, request=answer.request) if was_executed else answer

    return ask
