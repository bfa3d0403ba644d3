"""The same area in real time: simulated cabinets and a gateway on UDP before the platform's own services."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rich.console import Console

from core.runtime.postgres import Pool, connect, open_pool
from lab.fleet.build import build_udp_gateway
from lab.fleet.plan import JOIN_EUI
from lab.fleet.provision import Provisioner
from lab.fleet.tenancy import prepare_tenant
from lab.gateway.udp import UdpGateway
from lab.lighting.air import SimulatedCabinet
from lab.lighting.area import Area
from lab.lighting.campaign import CODEC, OVERRIDES, read_outcomes, read_state
from lab.lighting.figures import Disturbed, Played, Sent, uplink_loss
from lab.lighting.play import OVER
from lab.lighting.registered import REPORTS_EVERY, PlanCabinets, cabinet_plans, register_area, session_of
from lab.lighting.simulation import LOSS
from lab.radio.clock import call_at, now_us
from lab.radio.medium import Link, RadioMedium
from lab.radio.transmission import RX2_FREQUENCY
from lorawan.instants import from_us, to_us
from registry.keys import KeyWrap
from registry.tenants import create_api_key
from services.supervisor.run_info import RunInfo

FIRST_REPORT_S, FIRST_REPORTS, SETTLED_S = 60.0, 2, 10.0
LOOKED_AT_EVERY_S = 5.0
SENT = """
SELECT t.gateway_id, t.starts_at, t.airtime_us FROM transmission t
WHERE t.starts_at >= $1 AND t.frequency = $2 AND t.status IN ('OK', 'NO_ACK') ORDER BY t.starts_at
"""


class RealTime:
    """The wall clock in place of `Events`."""

    @property
    def now_us(self) -> int:
        """The time."""
        return now_us()

    def call_at(self, at_us: int, act: Callable[[], object]) -> None:
        """Do it then, by the running event loop."""
        call_at(at_us, act)


@dataclass(slots=True)
class RealArea:
    """An area on the air before a stack."""

    area: Area
    pool: Pool
    api: Provisioner
    approver: Provisioner
    tenant_id: int
    gateways: list[UdpGateway]
    cabinets: list[SimulatedCabinet]
    medium: RadioMedium
    assets: list[int]
    _reporting: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def begin(self) -> None:
        """Return when the cabinets have reported, so that the network knows the way to them."""
        self._reporting |= {asyncio.create_task(_report_regularly(cabinet)) for cabinet in self.cabinets}
        await asyncio.sleep(FIRST_REPORT_S * FIRST_REPORTS + SETTLED_S)

    def stop(self) -> None:
        """Nothing more is reported."""
        for task in self._reporting:
            task.cancel()


async def _report_regularly(cabinet: SimulatedCabinet) -> None:
    """Once soon, so that the network knows where it is heard; then at its interval, each at its own time."""
    for _ in range(FIRST_REPORTS):  # Of one that is lost nothing would be known for a quarter of an hour.
        await asyncio.sleep(cabinet.random.uniform(0, FIRST_REPORT_S))
        cabinet.report()
    await asyncio.sleep(cabinet.random.random() * REPORTS_EVERY.total_seconds())
    while True:
        cabinet.report()
        await asyncio.sleep(REPORTS_EVERY.total_seconds() * cabinet.random.uniform(0.95, 1.05))


@asynccontextmanager
async def open_area(
    run: RunInfo,
    area: Area,
    seed: str,
    plan: PlanCabinets = cabinet_plans,
    loss: float = LOSS,
    *,
    has_collisions: bool = True,
) -> AsyncGenerator[RealArea]:
    """A tenant of its own whose cabinets are registered, and its gateways on the air.

    Raises:
        ProvisioningFailed: the API rejected something.
    """
    name = f"banc-{now_us()}"
    async with open_pool(run.database_url, "bench") as pool:
        tenant, key = await prepare_tenant(pool, name, name)
        approver = await create_api_key(pool, tenant.id, "adjointe", ("read", "lighting_approve"))
        api, other = Provisioner(run.api_url, key), Provisioner(run.api_url, approver)
        try:
            keys = KeyWrap(run.kek_id, bytes.fromhex(run.kek))
            admin = await connect(run.database_admin_url, "bench")
            try:
                async with admin.transaction():
                    registered = await register_area(admin, area, name, datetime.now(UTC), keys, tenant.id, plan)
            finally:
                await admin.close()
            source = random.Random(seed)
            medium = RadioMedium(source, loss, loss, fading_db=0, has_collisions=has_collisions)
            gateways = [
                build_udp_gateway(plan, medium, source, (run.udp_host, run.udp_port))
                for plan in registered.gateways
            ]
            cabinets: list[SimulatedCabinet] = []
            for one in registered.cabinets:
                links = [Link(gateways[gateway], snr) for gateway, snr in one.cabinet.receptions]
                made = SimulatedCabinet(
                    one.cabinet.number, one.plan.dev_eui, JOIN_EUI, one.plan.app_key, one.plan.application, links,
                    medium, random.Random(f"{seed} {one.cabinet.number}"), is_class_c=True, events=RealTime(),
                )  # fmt: skip
                made.spreading_factor = one.cabinet.spreading_factor
                says_its_state = one.plan.profile.codec == CODEC
                made.answer_soon = made.answer if says_its_state else made.answer_so
                made.answer_later = made.answer
                made.session = session_of(one)
                medium.place(made, links)
                cabinets.append(made)
            numbers = [one.asset_id for one in registered.cabinets]
            real = RealArea(area, pool, api, other, tenant.id, gateways, cabinets, medium, numbers)
            running = [asyncio.create_task(gateway.run(), name=gateway.name) for gateway in gateways]
            try:
                yield real
            finally:
                real.stop()
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        finally:
            await api.close()
            await other.close()


async def play_real(
    run: RunInfo, area: Area, within: timedelta, console: Console, seed: str = "lighting"
) -> Played:
    """The campaign of overrides, through the API and the services.

    Raises:
        ProvisioningFailed: the API rejected something.
    """
    async with open_area(run, area, seed) as real:
        console.print(f"{len(real.cabinets)} armoires en temps réel", highlight=False)
        await real.begin()
        body = {
            "name": OVERRIDES.name, "action": OVERRIDES.action, "level": OVERRIDES.level, "reason": "banc",
            "targets": {"asset_ids": real.assets},
        }  # fmt: skip
        made = await real.api.post("/v1/lighting-campaigns", body)
        await real.approver.post(f"/v1/lighting-campaigns/{made['id']}/approval", {})
        wall, cpu = time.monotonic(), time.process_time()
        began_us = now_us()
        state = await read_state(real.pool, made["id"])
        while state.state not in OVER and time.monotonic() < wall + within.total_seconds():
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            state = await read_state(real.pool, made["id"])
            outcomes = await read_outcomes(real.pool, made["id"])
            proved = sum(one.state in {"applied", "confirmed"} for one in outcomes)
            console.print(
                f"  {time.monotonic() - wall:4.0f} s : {state.state}, {proved} sur {len(outcomes)}",
                highlight=False,
            )
        rows = await real.pool.fetch(SENT, from_us(began_us), RX2_FREQUENCY)
        sent = [
            [
                Sent(to_us(row["starts_at"]), row["airtime_us"])
                for row in rows
                if row["gateway_id"] == one.gateway_id
            ]
            for one in real.gateways
        ]
        predicted_s = (datetime.fromisoformat(made["preview"]["ends_at"]) - from_us(began_us)).total_seconds()
        return Played(
            OVERRIDES.name,
            len(real.cabinets),
            len(real.gateways),
            state,
            predicted_s,
            await read_outcomes(real.pool, made["id"]),
            sent,
            began_us,
            uplink_loss(area, sent, began_us, now_us(), 20_000),
            Disturbed.of(real.medium, [gateway.account for gateway in real.gateways]),
            (),
            time.monotonic() - wall,
            time.process_time() - cpu,
        )
