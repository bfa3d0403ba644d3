"""How long a syndicat's inventory takes to come in by the API, and how fast a commune's list is afterwards."""

import base64
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from lab.bench.processes import cpu_seconds
from services.supervisor.run_info import RunInfo

COMMUNES = 73
PART = 700_000
WITHIN_S, MEMORY_MOST_MB, LIST_P95_MOST_MS = 120.0, 300.0, 200.0
LISTED_TIMES = 5
ASKED_EVERY_S = 0.25
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

    @property
    def is_reached(self) -> bool:
        """Whether each goal is."""
        return (
            self.first_s <= WITHIN_S
            and self.memory_mb <= MEMORY_MOST_MB
            and self.list_p95_ms <= LIST_P95_MOST_MS
            and self.unchanged == self.cabinets + self.lamps
        )


def _cabinets(count: int) -> Iterator[str]:
    yield "external_reference;name;commune;insee;latitude;longitude;contract_power_kva;pdl;phases\n"
    for n in range(count):
        commune = n % COMMUNES
        yield f"ARM-{n};Armoire {n};Commune {commune};{29000 + commune};48,{n:05d};-4,{n:05d};18,5;{n:014d};3\n"


def _lamps(count: int, cabinets: int) -> Iterator[str]:
    yield "external_reference;cabinet;name;lamp;power_w;driver;pole;latitude;longitude\n"
    for n in range(count):
        yield f"PL-{n};ARM-{n % cabinets};Lampe {n % 30};LED 4000 lm;36,5;Dali;mât 6 m;48,{n:05d};-4,{n:05d}\n"


def measure(run: RunInfo, cabinets: int, lamps: int) -> ImportFigures:
    """On the stack's own tenant."""
    pid = next(service.pid for service in run.services if service.name == "maintenance" and service.pid)
    pids = {"all": run.supervisor_pid}
    files = [("cabinets", "".join(_cabinets(cabinets))), ("light-points", "".join(_lamps(lamps, cabinets)))]
    with httpx.Client(
        base_url=run.api_url, headers={"Authorization": f"Bearer {run.api_key}"}, timeout=60
    ) as client:
        cpu_before, began = cpu_seconds(pids)["all"], time.monotonic()
        first = [_import(client, kind, text) for kind, text in files]
        first_s, cpu_s = time.monotonic() - began, cpu_seconds(pids)["all"] - cpu_before
        began = time.monotonic()
        again = [_import(client, kind, text) for kind, text in files]
        again_s = time.monotonic() - began
        p95 = _list_p95_ms(client)
    assert [one["created"] for one in first] == [cabinets, lamps]
    unchanged = sum(one["unchanged"] for one in again)
    return ImportFigures(cabinets, lamps, first_s, again_s, unchanged, cpu_s, _peak_mb(pid), p95)


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
