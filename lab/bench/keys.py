"""`territoire bench keys`: keys are sealed anew under another key-encryption key while uplinks come in.

Devices that only have keys are planted beside those that report. Then, in turn: a quiet stretch, and one in which
everything is rotated; the key that seals changes back and forth, so that each rotation has all rows to do.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass
from statistics import median

import uvloop
from rich.console import Console
from rich.table import Table

from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Connection, Pool, connect, open_pool
from lab.bench.observation import wait_until_stored
from lab.load.latency import read_latency
from lab.load.load import Load, Played, open_load
from lorawan.identifiers import DevEui, slot_of_dev_eui
from registry.key_rotation import rotate
from registry.keys import KeyWrap, device_owner
from services.supervisor.run_info import RunInfo

GOAL_KEYS, GOAL_S, GOAL_P99 = 100_000, 300.0, 1.10
ARRIVES_WITHIN_S = 120.0
PLANT_AT_ONCE = 5_000
# Of devices that nobody owns but the benchmark.
FIRST_DEV_EUI = 0x7E44_0000_0000_0000
PLANT = """
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id,
                    app_key_fingerprint)
SELECT $1, eui, '\\x0000000000000000', 'clé ' || encode(eui, 'hex'), (SELECT min(id) FROM device_profile), slot,
       key, $2, print
FROM unnest($3::bytea[], $4::smallint[], $5::bytea[], $6::bytea[]) AS v (eui, slot, key, print)
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chooses."""

    keys: int = GOAL_KEYS
    rate: float = 1_000.0
    seconds: float = 30.0
    devices: int = 2_000
    gateways: int = 120
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Round:
    """A quiet stretch and one with a rotation, one after the other."""

    quiet_p99_ms: float
    rotating_p99_ms: float
    rotated: int
    rotation_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured; medians over the rounds."""

    rounds: tuple[Round, ...]

    @property
    def seconds_of_goal(self) -> float:
        """How long the goal's keys take at this speed."""
        return median(one.rotation_s / max(1, one.rotated) for one in self.rounds) * GOAL_KEYS

    @property
    def p99_ratio(self) -> float:
        """The p99 while keys are rotated to that of the quiet stretch before."""
        return median(one.rotating_p99_ms / one.quiet_p99_ms for one in self.rounds)

    @property
    def is_reached(self) -> bool:
        """Whether both goals are."""
        return self.seconds_of_goal <= GOAL_S and self.p99_ratio <= GOAL_P99


async def plant(connection: Connection, tenant_id: int, keys: KeyWrap, count: int) -> None:
    """Devices of this tenant with a root key each."""
    for first in range(0, count, PLANT_AT_ONCE):
        euis = [DevEui((FIRST_DEV_EUI + n).to_bytes(8)) for n in range(first, min(count, first + PLANT_AT_ONCE))]
        own = [(device_owner(eui, "app_key"), secrets.token_bytes(16)) for eui in euis]
        await connection.execute(
            PLANT,
            tenant_id,
            keys.kek_id,
            euis,
            [slot_of_dev_eui(eui) for eui in euis],
            [keys.wrap(key, owner) for owner, key in own],
            [keys.fingerprint(owner, key) for owner, key in own],
        )


class _Bench:
    def __init__(self, run: RunInfo, bus: Bus, pool: Pool, load: Load, options: Options) -> None:
        self._run, self._bus, self._pool, self._load, self._options = run, bus, pool, load, options
        ours, other = bytes.fromhex(run.kek), secrets.token_bytes(32)
        # The services know only theirs: what they open in the meantime are sessions that they already hold.
        self._keys = KeyWrap(run.kek_id, ours, {"bench": other}), KeyWrap("bench", other, {run.kek_id: ours})

    async def _p99_ms(self, played: Played) -> float:
        await wait_until_stored(self._bus, self._pool, played.uplinks, played.began_us, ARRIVES_WITHIN_S)
        return (await read_latency(self._pool, played.began_us, played.ended_us)).p99_ms

    async def measure(self, number: int) -> Round:
        options = self._options
        quiet = await self._p99_ms(await self._load.play(options.rate, options.seconds))
        connection = await connect(self._run.database_admin_url, "bench-keys")
        try:
            began = time.monotonic()
            rotating = asyncio.create_task(rotate(connection, self._keys[(number + 1) % 2]), name="rotate")
            played = await self._load.play(options.rate, options.seconds)
            done = await rotating
            took_s = time.monotonic() - began
        finally:
            await connection.close()
        return Round(quiet, await self._p99_ms(played), done.sealed, took_s)


async def _bench(run: RunInfo, options: Options, console: Console) -> Figures:
    async with (
        open_pool(run.database_admin_url, "bench", command_timeout=120) as pool,
        connect_bus(run.nats_url, "bench") as bus,
        open_load(
            run, devices=options.devices, gateways=options.gateways, receptions=1.0, console=console
        ) as load,
    ):
        async with pool.acquire() as connection:
            await plant(connection, load.tenant.id, KeyWrap(run.kek_id, bytes.fromhex(run.kek)), options.keys)
        bench = _Bench(run, bus, pool, load, options)
        # Each rotation there is followed by one back: at the end everything is under the stack's own key.
        return Figures(tuple([await bench.measure(number) for number in range(2 * options.rounds)]))


def print_figures(console: Console, figures: Figures) -> None:
    """The rounds, then both goals."""
    table = Table("reprise", "lignes", "secondes", "p99 au calme", "p99 pendant")
    for number, one in enumerate(figures.rounds, 1):
        table.add_row(
            str(number),
            str(one.rotated),
            f"{one.rotation_s:.1f}",
            f"{one.quiet_p99_ms:.0f} ms",
            f"{one.rotating_p99_ms:.0f} ms",
        )
    console.print(table)
    verdict = "atteint" if figures.is_reached else "manqué"
    console.print(
        f"{GOAL_KEYS} clés en {figures.seconds_of_goal:.0f} s (but : {GOAL_S:.0f}), p99 × {figures.p99_ratio:.2f} "
        f"(but : {GOAL_P99:.2f}) : {verdict}",
        highlight=False,
    )


def run(run_info: RunInfo, options: Options, console: Console) -> Figures:
    """Measure on a running stack."""
    return uvloop.run(_bench(run_info, options, console))
