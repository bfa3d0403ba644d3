"""How long a syndicat's inventory takes to come in by the API, and how fast a commune's list is afterwards.

Its files state the commune of each asset, or leave it to positions and outlines (`--by-outlines`).
"""

import asyncio
import base64
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from core.runtime.postgres import open_pool
from lab.bench.processes import cpu_seconds
from services.supervisor.run_info import RunInfo

COMMUNES = 73
# Points of a border between two communes; the outline of a real one has some hundred to two thousand.
BENDS = 500
OUTLINES_AT_ONCE = 10
# Assets stand along a line: at so many hundred-thousandths of a degree north and west of the first.
NORTH_FROM, WEST_FROM, DEGREE = 48.0, -4.0, 100_000
PART = 700_000
WITHIN_S, MEMORY_MOST_MB, LIST_P95_MOST_MS = 120.0, 300.0, 200.0
LISTED_TIMES = 5
ASKED_EVERY_S = 0.25
PLACED = "SELECT count(*) FROM asset WHERE commune_by_position AND insee = position_insee AND commune <> ''"
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class ImportFigures:
    """Of both files; memory is the most that the process of maintenance ever had."""

    cabinets: int
    lamps: int
    first_s: float
    again_s: float
    unchanged: int
    cpu_s: float
    memory_mb: float
    list_p95_ms: float
    by_outlines: bool
    placed: int
    """Assets that have the commune of their position; 0 where files state it."""

    @property
    def is_reached(self) -> bool:
        """Whether each goal is."""
        return (
            self.first_s <= WITHIN_S
            and self.memory_mb <= MEMORY_MOST_MB
            and self.list_p95_ms <= LIST_P95_MOST_MS
            and self.unchanged == self.cabinets + self.lamps
            and (self.placed == self.cabinets + self.lamps or not self.by_outlines)
        )


def _cabinets(count: int, *, by_outlines: bool) -> Iterator[str]:
    stated = "" if by_outlines else "commune;insee;"
    yield f"external_reference;name;{stated}latitude;longitude;contract_power_kva;pdl;phases\n"
    for n in range(count):
        commune = n % COMMUNES
        stated = "" if by_outlines else f"Commune {commune};{29000 + commune};"
        yield f"ARM-{n};Armoire {n};{stated}48,{n:05d};-4,{n:05d};18,5;{n:014d};3\n"


def outlines(assets: int) -> list[dict[str, Any]]:
    """Communes beside each other along the line of the assets; each two have the points of a border in common."""
    edges = [NORTH_FROM - 1 / DEGREE + number * (assets + 2) / DEGREE / COMMUNES for number in range(COMMUNES + 1)]
    west, east = WEST_FROM - 1.0, WEST_FROM + 0.1

    def border(number: int) -> list[tuple[float, float]]:
        source = random.Random(number)
        high = 0.0 if number in (0, COMMUNES) else edges[1] - edges[0]  # Nothing is beyond the first and the last.
        step = (east - west) / BENDS
        inner = [
            (west + bend * step, edges[number] + source.uniform(-0.2, 0.2) * high) for bend in range(1, BENDS)
        ]
        return [(round(x, 6), round(y, 6)) for x, y in [(west, edges[number]), *inner, (east, edges[number])]]

    def ring(number: int) -> list[tuple[float, float]]:
        south, north = border(number), border(number + 1)
        return [*south, *reversed(north), south[0]]

    return [
        {
            "type": "Feature",
            "properties": {"insee": f"{29000 + number}", "nom": f"Commune {number}"},
            "geometry": {"type": "Polygon", "coordinates": [ring(number)]},
        }
        for number in range(COMMUNES)
    ]


def _lamps(count: int, cabinets: int) -> Iterator[str]:
    yield "external_reference;cabinet;name;lamp;power_w;driver;pole;latitude;longitude\n"
    for n in range(count):
        yield f"PL-{n};ARM-{n % cabinets};Lampe {n % 30};LED 4000 lm;36,5;Dali;mât 6 m;48,{n:05d};-4,{n:05d}\n"


def measure(run: RunInfo, cabinets: int, lamps: int, *, by_outlines: bool = False) -> ImportFigures:
    """On the stack's own tenant; outlines are there before the files come, and are not counted."""
    pid = next(service.pid for service in run.services if service.name == "maintenance" and service.pid)
    pids = {"all": run.supervisor_pid}
    files = [
        ("cabinets", "".join(_cabinets(cabinets, by_outlines=by_outlines))),
        ("light-points", "".join(_lamps(lamps, cabinets))),
    ]
    with httpx.Client(
        base_url=run.api_url, headers={"Authorization": f"Bearer {run.api_key}"}, timeout=60
    ) as client:
        if by_outlines:
            features = outlines(max(cabinets, lamps))
            for begin in range(0, len(features), OUTLINES_AT_ONCE):
                body = {"features": features[begin : begin + OUTLINES_AT_ONCE], "generated": True}
                client.post("/v1/commune-outlines", json=body).raise_for_status()
        cpu_before, began = cpu_seconds(pids)["all"], time.monotonic()
        first = [_import(client, kind, text) for kind, text in files]
        first_s, cpu_s = time.monotonic() - began, cpu_seconds(pids)["all"] - cpu_before
        began = time.monotonic()
        again = [_import(client, kind, text) for kind, text in files]
        again_s = time.monotonic() - began
        p95 = _list_p95_ms(client)
    assert [one["created"] for one in first] == [cabinets, lamps]
    unchanged = sum(one["unchanged"] for one in again)
    placed = asyncio.run(_placed(run)) if by_outlines else 0
    return ImportFigures(
        cabinets, lamps, first_s, again_s, unchanged, cpu_s, _peak_mb(pid), p95, by_outlines, placed
    )


async def _placed(run: RunInfo) -> int:
    async with open_pool(run.database_url, "bench", size=1) as pool:
        return await pool.fetchval(PLACED)


def _import(client: httpx.Client, kind: str, text: str) -> dict[str, int]:
    job = client.post("/v1/imports", json={"kind": kind}).raise_for_status().json()
    path, content = f"/v1/imports/{job['id']}", text.encode()
    for number, begin in enumerate(range(0, len(content), PART), 1):
        part = base64.b64encode(content[begin : begin + PART]).decode()
        client.put(f"{path}/parts/{number}", json={"content": part}).raise_for_status()
    job = client.post(f"{path}/start", json={}).raise_for_status().json()
    while job["state"] not in ENDED:
        time.sleep(ASKED_EVERY_S)
        job = client.get(path).raise_for_status().json()
    return job


def _list_p95_ms(client: httpx.Client) -> float:
    """Of the first page of each commune, several times."""
    took: list[float] = []
    for _ in range(LISTED_TIMES):
        for commune in range(COMMUNES):
            began = time.monotonic()
            client.get("/v1/assets", params={"commune": f"Commune {commune}"}).raise_for_status()
            took.append(1000 * (time.monotonic() - began))
    return statistics.quantiles(took, n=20)[-1]


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
