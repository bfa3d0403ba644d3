"""A scenario of thirty days: a town's assets, what they measure hour by hour, and what people do meanwhile."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from alerting import alert_store, rule_store, silences
from alerting.defaults import create_default_rules
from alerting.engine import Engine
from alerting.rulebook import Rulebook
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.runtime.bus import Message
from core.runtime.lease import Lease, take_lease
from core.runtime.postgres import Pool
from registry.datastreams import make_datastream
from tests.alerting.crashes import Crash, Fuse, MortalPool, message_of

PARIS = ZoneInfo("Europe/Paris")
FIRST = datetime(2026, 10, 26, 0, 0, tzinfo=PARIS)
HOURS = 30 * 24
SINCE_LONG = datetime(2020, 1, 1, tzinfo=PARIS)

STORE_HOUR = """
WITH said AS (SELECT * FROM unnest($1::int[], $2::float8[]) AS said (datastream_id, value)), stored AS (
    INSERT INTO observation.measurement SELECT datastream_id, $3, value, 0 FROM said
)
INSERT INTO observation.latest SELECT datastream_id, $3, value, 0 FROM said
ON CONFLICT (datastream_id) DO UPDATE SET time = excluded.time, value = excluded.value
"""
RECEIVE_HOUR = """
INSERT INTO observation.reception SELECT device_id, $2, gen_random_uuid(), $3, 0, -80, 5
FROM unnest($1::int[]) AS device_id
"""


def on(day: int, hour: float) -> datetime:
    """The given hour of the given day of October and November: 26 is October's, 1 November's first."""
    month = 10 if day >= 26 else 11
    return datetime(2026, month, day, int(hour), round(hour % 1 * 60), tzinfo=PARIS)


@dataclass
class Thing:
    """An asset with one device and one datastream, and what it says: (instant, value)."""

    name: str
    asset_id: int
    device_id: int
    datastream_id: int
    script: Callable[[datetime], float | None]


@dataclass
class AlertScenario:
    """The scenario's assets and devices in the database."""

    pool: Pool
    tenant_id: int = 0
    gateway_id: int = 0
    things: list[Thing] = field(default_factory=list[Thing])

    async def settle(self) -> None:
        self.tenant_id = await self.pool.fetchval(
            "INSERT INTO tenant (slug, name) VALUES ('ville', 'Ville') RETURNING id"
        )
        await create_default_rules(self.pool, self.tenant_id)
        self.gateway_id = await self.pool.fetchval(
            "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, $2, 'Mairie') RETURNING id",
            self.tenant_id,
            bytes(8),
        )
        await self.pool.execute(
            "INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, kek_id) "
            "VALUES ($1, 'https://a.example/', 'x', 'k')",
            self.tenant_id,
        )

    async def add_asset(
        self, kind: str, name: str, quantity: str, unit: str, script: Callable[[datetime], float | None],
        *, interval_h: float = 1, attributes: dict[str, Any] | None = None, parent: Thing | None = None,
    ) -> Thing:  # fmt: skip
        number = len(self.things) + 1
        profile = await self.pool.fetchval(
            "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval) "
            "VALUES ($1, $2, 'v', 'm', 'c', make_interval(secs => $3)) RETURNING id",
            self.tenant_id, name, interval_h * 3600,
        )  # fmt: skip
        device = await self.pool.fetchval(
            "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
            "VALUES ($1, int8send($2), int8send(1), $3, $4, 0, 'ABP') RETURNING id",
            self.tenant_id, number, f"EM-{number}", profile,
        )  # fmt: skip
        asset = await self.pool.fetchval(
            "INSERT INTO asset (tenant_id, kind, name, street, commune, latitude, longitude, attributes, "
            "parent_id) VALUES ($1, $2, $3, 'rue de Siam', 'Brest', 48.39, -4.49, $4, $5) RETURNING id",
            self.tenant_id, kind, name, attributes or {}, None if parent is None else parent.asset_id,
        )  # fmt: skip
        await self.pool.execute(
            "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
            "VALUES ($1, $2, $3, tstzrange($4, NULL))",
            self.tenant_id, asset, device, SINCE_LONG,
        )  # fmt: skip
        made = await make_datastream(
            self.pool, tenant_id=self.tenant_id, asset_id=asset, device_id=device, position="", channel="",
            quantity=quantity, unit=unit,
        )  # fmt: skip
        thing = Thing(name, asset, device, made.id, script)
        self.things.append(thing)
        return thing

    async def store_hour(self, at: datetime) -> list[Measurement]:
        """What the devices send in this hour, stored as ingest does, with the gateway that received it."""
        said = [(thing, value) for thing in self.things if (value := thing.script(at)) is not None]
        streams = [thing.datastream_id for thing, _ in said]
        values = [float(value) for _, value in said]
        devices = [thing.device_id for thing, _ in said]
        await self.pool.execute(STORE_HOUR, streams, values, at)
        await self.pool.execute(RECEIVE_HOUR, devices, at, self.gateway_id)
        pairs = zip(streams, values, strict=True)
        return [Measurement(stream, int(at.timestamp()) * 1_000_000, value, 0) for stream, value in pairs]

    async def notifications(self) -> list[tuple[str, str, str, str]]:
        """What the engine notified: local instant, event, severity, text."""
        rows = await self.pool.fetch(
            "SELECT at, event, severity::text, message FROM alert_notice WHERE rung = 0 "
            "ORDER BY at, message, event"
        )
        return [
            (f"{row['at'].astimezone(PARIS):%d/%m %H:%M}", row["event"].removeprefix("alert."), row["severity"],
             row["message"].replace("\u00a0", " ").replace(" (rue de Siam, Brest)", ""))
            for row in rows
        ]  # fmt: skip


class Days:
    """Plays the scenario; `fuse` says when the evaluator is killed, and another takes over."""

    def __init__(self, scenario: AlertScenario, lease: Lease, fuse: Fuse | None) -> None:
        self.town, self.lease, self.fuse = scenario, lease, fuse
        self.now = FIRST
        self.deaths = 0
        self.people: list[tuple[datetime, Callable[[], Awaitable[object]]]] = []
        self.each_hour: Callable[[datetime], Awaitable[object]] | None = None
        self.engine: Engine | None = None

    async def _alive(self) -> Engine:
        if self.engine is None:
            pool: Any = self.town.pool if self.fuse is None else MortalPool(self.town.pool, self.fuse)
            rulebook = Rulebook(self.town.pool)
            await rulebook.load()
            self.engine = Engine(
                pool, rulebook, 1, least_watch=timedelta(0), orphans_every_s=0, now=lambda: self.now
            )
            await self.engine.catch_up(self.lease)
            self.engine._watching[0] = FIRST - timedelta(days=1)
        return self.engine

    async def _repeat_until_done(self, act: Callable[[Engine], Awaitable[None]], *, from_table: bool) -> None:
        """Die and come back until it is done; what was being taken is then found in the table."""
        while True:
            try:
                engine = await self._alive()
                await act(engine)
            except Crash:
                self.deaths += 1
                self.engine = None
                if from_table:
                    act = _nothing
            else:
                return

    async def play(self) -> None:
        for at in hours():
            self.now = at
            items = await self.town.store_hour(at)
            if not _gateway_is_down(at):
                await self.town.pool.execute(
                    "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) "
                    "VALUES ($1, 'udp', 'a', $2) "
                    "ON CONFLICT (gateway_id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
                    self.town.gateway_id, at,
                )  # fmt: skip
            message = message_of(encode_batch(items), int(at.timestamp() * 1_000_000))
            if items:
                await self._repeat_until_done(partial(_evaluate_message, self.lease, message), from_table=True)
            await self._repeat_until_done(partial(_sweep, self.lease), from_table=False)
            for due, act in self.people:
                if due == at:
                    await act()
            if self.each_hour is not None:
                await self.each_hour(at)


async def _evaluate_message(lease: Lease, message: Message, engine: Engine) -> None:
    await engine.evaluate_messages(lease, [message])


async def _sweep(lease: Lease, engine: Engine) -> None:
    await engine.sweep([lease])


async def _nothing(_engine: Engine) -> None:
    """It was caught up with already."""


def hours() -> Iterator[datetime]:
    """Every hour of the thirty days, the clock's change behind them."""
    for hour in range(HOURS):
        yield FIRST + timedelta(hours=hour)


def _gateway_is_down(at: datetime) -> bool:
    return on(14, 10) <= at < on(14, 15)


@asynccontextmanager
async def scenario_of(pool: Pool, fuse: Fuse | None = None) -> AsyncGenerator[Days]:
    """The scenario with all its assets."""
    town = AlertScenario(pool)
    await town.settle()
    await _inhabit(town)
    lease = await take_lease(pool, "alerting", 0, "test")
    assert lease is not None
    days = Days(town, lease, fuse)
    await _employ(days)
    yield days


def _unless_down(script: Callable[[datetime], float | None]) -> Callable[[datetime], float | None]:
    return lambda at: None if _gateway_is_down(at) else script(at)


def _bin(at: datetime) -> float | None:
    """Every six hours; twelve points a day, emptied on the 3rd; from the 9th on it is full and the sensor dies."""
    if at.hour % 6 or at >= on(11, 0):
        return None
    since = FIRST if at < on(3, 9) else on(3, 6)
    return min(92.0, 10 + 12 * (at - since) / timedelta(days=1))


def _dying_bin(at: datetime) -> float | None:
    """At 92 % its sensor dies."""
    return None if at.hour % 6 or at > on(1, 12) else 92.0


def _co2(at: datetime) -> float | None:
    """Stale air on the 5th in class, on a Sunday (8th) and on Armistice Day (11th); else fresh."""
    is_stale = at.date() in {on(5, 0).date(), on(8, 0).date(), on(11, 0).date()} and 9 <= at.hour < 12
    return 1700.0 if is_stale else 600.0


def _water(at: datetime) -> float | None:
    """A leak from the 6th to the 9th."""
    hours_past = (at - FIRST) / timedelta(hours=1)
    leaked = max(0.0, min((at - on(6, 0)) / timedelta(hours=1), 72.0)) * 9
    days, hour = divmod(hours_past, 24)
    return days * 300 + max(0.0, min(hour - 7, 12)) * 25 + leaked


def _power(at: datetime) -> float | None:
    """Dark on the evening of the 4th and of the 17th (maintenance), lit on the 13th at noon."""
    if on(13, 11) <= at < on(13, 15):
        return 2000.0
    if on(4, 19) <= at < on(4, 23) or on(17, 19) <= at < on(17, 23):
        return 0.0
    return 2000.0 if at.hour >= 18 or at.hour < 9 else 0.0


def _lamp(at: datetime) -> float | None:
    """Its alerts are suppressed as long as its cabinet has no power."""
    return None if on(4, 19) <= at < on(5, 0) else 1.0


def _door(at: datetime) -> float | None:
    """It says when it changes: opened by day, at three in the night, and left open at closing time."""
    says = {
        on(2, 10): 1, on(2, 11): 0, on(12, 3): 1, on(12, 4): 0, on(19, 17): 1, on(20, 7): 0,
    }  # fmt: skip
    return says.get(at, 0 if at.hour == 12 and at.date() != on(19, 0).date() else None)


def _restless(at: datetime) -> float | None:
    """On the 10th from eight to two it is hot every other hour."""
    return (
        65.0 if at.date() == on(10, 0).date() and 8 <= at.hour <= 14 and at.hour % 2 == 0 else 20.0 + at.hour / 10
    )


def _tired(at: datetime) -> float | None:
    return 19.0 if at >= on(21, 8) else 55.0


async def _inhabit(scenario: AlertScenario) -> None:
    await scenario.add_asset("glass_container", "Borne 1", "fill_level", "%", _bin, interval_h=6)
    await scenario.add_asset("glass_container", "Borne 2", "fill_level", "%", _dying_bin, interval_h=6)
    await scenario.add_asset("room", "Classe 1", "co2", "[ppm]", _unless_down(_co2))
    await scenario.add_asset("water_meter", "Compteur 1", "water_volume", "L", _unless_down(_water))
    lighting = {"rated_power_w": 2000}
    cabinet = await scenario.add_asset("lighting_cabinet", "Armoire 1", "active_power", "W", _unless_down(_power),
                             attributes=lighting)  # fmt: skip
    await scenario.add_asset("lamp", "Lampe 1", "switch_state", "1", _unless_down(_lamp), parent=cabinet)
    await scenario.add_asset("door", "Porte 1", "open", "1", _door, interval_h=24)
    await scenario.add_asset("waste_container", "Bac agité", "temperature", "Cel", _unless_down(_restless))
    await scenario.add_asset("waste_container", "Bac 3", "battery_level", "%", _unless_down(_tired))
    for number in range(4, 8):
        await scenario.add_asset(
            "waste_container", f"Bac {number}", "fill_level", "%", _unless_down(lambda _: 30.0)
        )


async def _employ(days: Days) -> None:
    """What people do: a window for the cabinet, a silence that ends too early, an alert put away too soon."""
    pool, town = days.town.pool, days.town
    cabinet = next(thing for thing in town.things if thing.name == "Armoire 1")
    room = next(thing for thing in town.things if thing.name == "Classe 1")
    rules = {rule.name: rule.id for rule in await rule_store.list_rules(pool)}

    async def window() -> None:
        async with pool.acquire() as connection:
            await silences.create_window(
                connection, town.tenant_id, "chef",
                {"asset_id": cabinet.asset_id, "reason": "disjoncteur", "ends_at": on(17, 23),
                 "starts_at": on(17, 18)},
            )  # fmt: skip

    async def silence() -> None:
        async with pool.acquire() as connection:
            await silences.create_silence(
                connection, town.tenant_id, "chef",
                {"reason": "essai", "ends_at": on(5, 11), "starts_at": on(5, 8), "rule_id": rules["co2_1500"],
                 "asset_id": room.asset_id},
            )  # fmt: skip

    async def put_away() -> None:
        alerts = [alert for alert in await alert_store.list_alerts(pool) if alert.workflow == "open"]
        stubborn = next(alert for alert in alerts if alert.rule == "leak")
        async with pool.acquire() as connection:
            await alert_store.close(connection, stubborn.id, "chef", "doublon")
        # The wait counts from the scenario's clock, which is not the database's.
        await pool.execute(
            "UPDATE alert SET reopen_at = $2, due_at = $3, muted_until = $3, resolved_at = $3, closed_at = $3 "
            "WHERE id = $1",
            stubborn.id, days.now + timedelta(hours=4), days.now,
        )  # fmt: skip

    days.people = [(on(17, 12), window), (on(5, 7), silence), (on(8, 9), put_away)]
