"""An engine over a scenario, whose clock is moved by hand."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from alerting.engine import Engine
from alerting.rulebook import Rulebook
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.runtime.lease import Lease, take_lease
from core.runtime.postgres import Pool
from tests.alerting.alert_scenario import SINCE_LONG, AlertScenario, on
from tests.alerting.crashes import message_of

NOW = on(16, 10)


class Watch:
    """An engine over a scenario, whose clock is moved by hand."""

    def __init__(self, scenario: AlertScenario, engine: Engine, lease: Lease) -> None:
        self.town, self.engine, self.lease = scenario, engine, lease
        self.now = NOW

    async def receive(self, values: dict[int, float]) -> None:
        """Values by datastream, now."""
        at_us = int(self.now.timestamp() * 1_000_000)
        items = [Measurement(stream, at_us, value, 0) for stream, value in values.items()]
        await self.engine.evaluate_messages(self.lease, [message_of(encode_batch(items), at_us)])

    async def see_gateway(self) -> None:
        await self.town.pool.execute(
            "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) VALUES ($1, 'udp', 'a', $2) "
            "ON CONFLICT (gateway_id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
            self.town.gateway_id,
            self.now,
        )

    async def pass_time(self, **duration: float) -> None:
        self.now += timedelta(**duration)
        await self.engine.sweep([self.lease])

    def start_again(self) -> None:
        """Another owner, which remembers nothing."""
        self.engine = Engine(
            self.town.pool, self.engine._rulebook, 1, least_watch=timedelta(0), now=lambda: self.now
        )
        self.engine._watching[0] = SINCE_LONG

    async def notifications(self) -> list[tuple[str, str]]:
        rows = await self.town.pool.fetch(
            "SELECT n.event, r.name FROM alert_notice n JOIN alert a ON a.id = n.alert_id "
            "JOIN alert_rule r ON r.id = a.rule_id ORDER BY n.at, n.event, r.name"
        )
        return [(row["event"].removeprefix("alert."), row["name"]) for row in rows]


async def watch(
    pool: Pool, inhabit: Callable[[AlertScenario], Awaitable[object]], least_watch: timedelta = timedelta(0)
) -> Watch:
    """The scenario with these in it, watched since long."""
    town = AlertScenario(pool)
    await town.settle()
    await inhabit(town)
    lease = await take_lease(pool, "alerting", 0, "test")
    assert lease is not None
    rulebook = Rulebook(pool)
    await rulebook.load()
    watching = Watch(town, Engine(pool, rulebook, 1, least_watch=least_watch, now=lambda: watching.now), lease)
    watching.engine._watching[0] = SINCE_LONG
    return watching
