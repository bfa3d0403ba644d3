"""`territoire bench ingest`: from gateway datagrams to committed measurements, at the highest rate sustained.

It plays against a running stack whose PostgreSQL keeps commit timestamps; `lab.commands.bench` starts one for it.
"""

import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uvloop
from rich.console import Console

from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool, open_pool
from lab.bench.ceiling import measure_ceiling
from lab.bench.observation import count_rows, snapshot, wait_until_stored
from lab.bench.report import Measured, Run, median_of, print_report, print_search
from lab.bench.search import Search, step_down
from lab.load.latency import read_latency
from lab.load.load import Load, open_load
from lab.simulator.account import Account, balance, key_of, read_stored
from services.supervisor.run_info import RunInfo

SEARCH_S = 10.0
PACED_RATE = 2_000.0
PACED_S = 20.0
# The first two seconds of processes that have just started wait for what these do once: keys, plans, registries.
WARM_UP_S = 5.0
ARRIVES_WITHIN_S = 180.0
# Measuring at a rate that the search took for sustained.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chooses; without a rate the highest that is sustained is searched."""

    seconds: float = 30.0
    rate: float | None = None
    devices: int = 2_000
    gateways: int = 120
    copies: float = 1.0
    runs: int = 1
    paced: bool = True
    paced_only: bool = False


class _Bench:
    """A load on a stack, and everything that was played on it."""

    def __init__(self, run: RunInfo, bus: Bus, pool: Pool, load: Load, console: Console) -> None:
        self._run = run
        self._bus = bus
        self._pool = pool
        self._load = load
        self._console = console
        self._overloads: list[Measured] = []

    async def _measure(self, rate: float, seconds: float) -> Measured:
        gc.collect()
        gc.freeze()
        before = await snapshot(self._run, self._bus)
        played = await self._load.play(rate, seconds)
        await wait_until_stored(self._bus, self._pool, played.uplinks, played.began_us, ARRIVES_WITHIN_S)
        after = await snapshot(self._run, self._bus)
        latency = await read_latency(self._pool, played.began_us, played.ended_us)
        rows = await count_rows(self._pool, played.began_us, played.ended_us)
        measured = Measured(played, latency, rows, before, after)
        print_search(self._console, measured)
        if not measured.is_sustained:
            self._overloads.append(measured)
        return measured

    async def search(self, most: float) -> float:
        """The highest rate that ten seconds show to be sustained."""
        search = Search(most)
        self._console.print(f"Recherche du débit soutenu, {SEARCH_S:.0f} s par palier")
        while (rate := search.next_rate()) is not None:
            measured = await self._measure(rate, SEARCH_S)
            search.record_attempt(rate, sustained=measured.is_sustained, throughput=measured.throughput)
        return search.best or PACED_RATE

    async def sustained(self, rate: float, seconds: float, *, retry_same_rate: bool) -> Measured:
        """The measurement at `rate`, or, unless `retry_same_rate`, at the next lower one that is sustained."""
        measured = await self._measure(rate, seconds)
        for _ in range(0 if retry_same_rate else ATTEMPTS):
            if measured.is_sustained:
                break
            rate = step_down(min(rate, measured.throughput / 0.95))
            measured = await self._measure(rate, seconds)
        return measured

    async def paced(self, seconds: float) -> Measured:
        """The measurement at 2,000 uplinks per second, behind a warm-up."""
        played = await self._load.play(PACED_RATE, WARM_UP_S)
        await wait_until_stored(self._bus, self._pool, played.uplinks, played.began_us, ARRIVES_WITHIN_S)
        return await self._measure(PACED_RATE, seconds)

    async def account(self) -> Account:
        """Sent against stored, exactly; what an overload lost at the radio edge is left out."""
        stored, undecodable = await read_stored(self._pool, self._load.tenant.id)
        spans = [(one.played.began_us, one.played.ended_us) for one in self._overloads]
        sent = self._load.sent
        lost = Counter(
            key_of(uplink)
            for uplink in sent
            if any(began <= uplink.sent_at_us <= ended for began, ended in spans) and not stored[key_of(uplink)]
        )
        account = balance([uplink for uplink in sent if key_of(uplink) not in lost], stored, undecodable)
        account.left_out = len(lost)
        return account


async def _one_run(bench: _Bench, run: RunInfo, options: Options, rate: float | None, console: Console) -> Run:
    sustained: Measured | None = None
    if not options.paced_only:
        sustained = await bench.sustained(
            rate or PACED_RATE, options.seconds, retry_same_rate=options.rate is not None
        )
    paced = await bench.paced(min(PACED_S, options.seconds)) if options.paced or sustained is None else None
    console.print("Plafond de PostgreSQL sur les mêmes lignes")
    return Run(sustained, await measure_ceiling(run.database_admin_url), paced)


async def _bench(run: RunInfo, options: Options, console: Console) -> tuple[list[Run], Account]:
    async with (
        open_pool(run.database_url, "bench", command_timeout=120) as pool,
        connect_bus(run.nats_url, "bench") as bus,
        open_load(
            run, devices=options.devices, gateways=options.gateways, receptions=options.copies, console=console
        ) as load,
    ):
        console.print(
            f"{load.joined} équipements activés par {len(load.gateways)} passerelles, "
            f"{options.copies:g} copie(s) par trame",
            highlight=False,
        )
        bench = _Bench(run, bus, pool, load, console)
        rate = options.rate
        if rate is None and not options.paced_only:
            rate = await bench.search(most=50.0 * options.devices)
        runs = [await _one_run(bench, run, options, rate, console) for _ in range(options.runs)]
        return runs, await bench.account()


def figures_of(runs: Sequence[Run], account: Account, options: Options) -> dict[str, Any]:
    """The one object that `--json` prints."""
    return {
        **median_of([run.as_dict() for run in runs]),
        "seconds": options.seconds,
        "runs": options.runs,
        "devices": options.devices,
        "gateways": options.gateways,
        "copies": options.copies,
        "account": account.as_dict(),
    }


def run(run_info: RunInfo, options: Options, console: Console) -> tuple[dict[str, Any], bool]:
    """Measure a running stack; the figures, and whether sent is exactly stored.

    Raises:
        ProvisioningFailed, JoinsTakeTooLong, CeilingFailed: the message says what happened.
    """
    runs, account = uvloop.run(_bench(run_info, options, console))
    figures = figures_of(runs, account, options)
    print_report(console, figures, [account])
    return figures, account.balances
