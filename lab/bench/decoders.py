"""How fast payloads are read: by native decoders, and by scripts through a pool of one worker process."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from decoders.catalogue import CODECS
from decoders.javascript.inputs import uplink_input
from decoders.javascript.pool import Call, CodecPool, Script
from lab.bench.report import median_of

GOAL_NATIVE_PER_S = 100_000
GOAL_SCRIPTS_PER_S = 8_000
# What ingest asks in one call of a busy second.
BATCH = 500
NOW_US = 1_700_000_000_000_000
SCRIPTS = Path(__file__).parent / "codecs.js"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

# Codec, f_port, payload, and whether the goal is about it.
NATIVE: tuple[tuple[str, int, str, bool], ...] = (
    ("milesight.em310", 85, "01755c03824408040001", True),
    ("milesight.em400", 85, "01755c0367010104824408050001", True),
    ("milesight.am103", 85, "01756403673401046865077de704", True),
    ("milesight.am308", 85, "0367ee0004687c05000106cb02077da803087d2500097366270b7d20000c7d3000", True),
    ("elsys.ers_co2", 5, "0100c6022a070e0a", False),
    ("watteco.standard", 125, "110a04020000290b89", False),
)
FRAMES: dict[str, tuple[str, ...]] = {
    "tags": ("01756403671001046865077DE70409734B27", "0367EE0004687C", "017562"),
    "buffer": ("00AB000001F4000A0014001E0028", "00AB0000000000FF"),
    "history": ("00EA00EB00EC00ED00EE00EF00F000F1", "0102"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` for each native codec and for the scripts, again in each of `runs`."""

    seconds: float = 1.0
    runs: int = 5


def run(options: Options, console: Console) -> tuple[dict[str, Any], bool]:
    """The medians, and whether both goals are reached."""
    runs: list[dict[str, Any]] = []
    for number in range(options.runs):
        native = {name: _native(name, port, payload, options.seconds) for name, port, payload, _ in NATIVE}
        scripts = asyncio.run(_through_the_pool(options.seconds))
        runs.append({"native": native, "scripts": scripts})
        console.print(
            f"  mesure {number + 1} : Milesight {_slowest(native):.0f} trames/s au moins, "
            f"scripts {scripts['decodes_per_second']}/s",
            highlight=False,
        )
    figures = median_of(runs)
    figures["milesight_frames_per_second"] = round(_slowest(figures["native"]))
    figures["reached"] = {
        "native": figures["milesight_frames_per_second"] >= GOAL_NATIVE_PER_S,
        "scripts": figures["scripts"]["decodes_per_second"] >= GOAL_SCRIPTS_PER_S,
    }
    return figures, all(figures["reached"].values())


def print_report(console: Console, figures: dict[str, Any]) -> None:
    """The figures, for people."""
    table = Table("décodeur natif", "trames/s sur un cœur", "µs par trame", "valeurs par trame")
    for name, of in figures["native"].items():
        table.add_row(name, f"{of['frames_per_second']:.0f}", f"{of['us_per_frame']:.2f}", str(of["values"]))
    console.print(table)
    scripts = figures["scripts"]
    console.print(
        f"Scripts des fabricants, un processus, lots de {BATCH} : {scripts['decodes_per_second']:.0f}/s ; "
        f"{scripts['worker_us']:.1f} µs de CPU par trame dans le processus, {scripts['pool_us']:.1f} µs autour ; "
        f"p50 {scripts['p50_us']:.0f} µs, p99 {scripts['p99_us']:.0f} µs.",
        highlight=False,
    )
    console.print(
        f"Buts : Milesight {GOAL_NATIVE_PER_S} trames/s, scripts {GOAL_SCRIPTS_PER_S}/s.", highlight=False
    )


def _slowest(native: dict[str, Any]) -> float:
    goals = {name for name, _, _, is_goal in NATIVE if is_goal}
    return min(of["frames_per_second"] for name, of in native.items() if name in goals)


def _native(name: str, f_port: int, payload: str, seconds: float) -> dict[str, Any]:
    decode, octets = CODECS[name].decode, bytes.fromhex(payload)
    values = len(decode(f_port, octets, NOW_US, {}).readings)

    def some() -> None:
        for _ in range(1_000):
            decode(f_port, octets, NOW_US, {})

    per_s = 1_000 * _repeated(some, seconds)
    return {"frames_per_second": round(per_s), "us_per_frame": round(1_000_000 / per_s, 2), "values": values}


def _repeated(work: Callable[[], None], seconds: float) -> float:
    """How often a second of this thread's CPU it is done."""
    work()
    began, times = time.thread_time(), 0
    while time.thread_time() - began < seconds:
        work()
        times += 1
    return times / (time.thread_time() - began)


def scripts() -> dict[str, Script]:
    """The scripts of the measurement, by name."""
    blocks = SCRIPTS.read_text("utf-8").split("// ---- ")[1:]
    named = (block.partition("\n")[::2] for block in blocks)
    return {name: Script(f"bench/{name}", source) for name, source in named}


async def _through_the_pool(seconds: float) -> dict[str, Any]:
    pool = CodecPool(1)
    await pool.start()
    try:
        return await _measured(pool, _calls(), seconds)
    finally:
        await pool.close()


def _calls() -> list[Call]:
    """One batch: the scripts take turns, so that no context is favoured."""
    of = [
        Call(script, "decodeUplink", uplink_input(1, bytes.fromhex(frame), NOW_US, dev_eui="0011223344556677"))
        for name, script in scripts().items()
        for frame in FRAMES[name]
    ]
    return [of[number % len(of)] for number in range(BATCH)]


async def _measured(pool: CodecPool, calls: list[Call], seconds: float) -> dict[str, Any]:
    answers = await pool.call(calls)
    assert all(answer.problem is None for answer in answers), answers
    (pid,) = pool.pids
    spent: list[int] = []
    began, own, theirs = time.perf_counter(), time.process_time(), _cpu_s(pid)
    while (took := time.perf_counter() - began) < seconds:
        spent += [answer.cpu_us for answer in await pool.call(calls)]
    count = len(spent)
    cuts = quantiles(spent, n=100)
    return {
        "decodes_per_second": round(count / took),
        "worker_us": round((_cpu_s(pid) - theirs) * 1_000_000 / count, 1),
        "pool_us": round((time.process_time() - own) * 1_000_000 / count, 1),
        "p50_us": round(cuts[49]),
        "p99_us": round(cuts[98]),
    }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S
