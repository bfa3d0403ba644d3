import importlib
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from rich.console import Console

from core.runtime.health import serve_http
from lab.bench.scaling_kills import Blow
from lab.bench.scaling_probes import Held, is_shared, peak_megabytes, taken_anew
from lab.bench.scaling_report import Options, Shown, Split, figures_of, print_scaling
from lab.bench.scaling_shares import WORK, Shares, work_done
from lab.simulator.account import Account
from lab.users.balancer import Balancer
from lab.users.callers import Caller
from services.supervisor.run_info import ServiceInfo

BEFORE = {0: Held(3, "network-1"), 1: Held(5, "network-2"), 2: Held(1, "network-1")}


def test_the_work_is_resumed_when_every_shard_of_the_dead_one_has_a_later_lease() -> None:
    other, again = Held(4, "network-2"), Held(2, "network-1")

    assert not taken_anew(BEFORE, BEFORE, "network-1")
    assert not taken_anew(BEFORE, BEFORE | {0: other}, "network-1")
    assert not taken_anew(BEFORE, {0: other, 1: BEFORE[1]}, "network-1")
    assert taken_anew(BEFORE, BEFORE | {0: other, 2: again}, "network-1")


@pytest.mark.parametrize(
    ("owners", "shared"), [("aabb", True), ("aaab", False), ("aabc", False), ("aab", False), ("abab", True)]
)
def test_shards_are_shared_when_all_are_held_and_evenly(owners: str, shared: bool) -> None:
    now = {shard: Held(1, owner) for shard, owner in enumerate(owners)}

    assert is_shared(now, ["a", "b"], 4) is shared


def test_what_each_replica_did_is_a_difference_and_who_did_nothing_is_named() -> None:
    shares = Shares.between(
        {"network-1": 10, "network-2": 4, "ingest-1": 3}, {"network-1": 25, "network-2": 4, "ingest-1": 9}
    )

    assert dict(shares.by_service["network"]) == {"network-1": 15, "network-2": 0}
    assert dict(shares.by_service["ingest"]) == {"ingest-1": 6}
    assert shares.idle == ["network-2"]


def test_only_the_work_itself_counts() -> None:
    counters = Counter(
        {
            ("territoire_network_frames_total", ("unconfirmed_data_up", "accepted")): 7,
            ("territoire_network_frames_total", ("unconfirmed_data_up", "mic")): 3,
            ("territoire_ingest_measurements_total", ()): 35,
        }
    )

    assert (work_done(counters, "network"), work_done(counters, "ingest"), work_done(counters, "api")) == (
        7,
        35,
        0,
    )


def test_the_kernel_says_the_peak_of_memory(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tx\nVmPeak:\t 9000 kB\nVmHWM:\t   2048 kB\n", "ascii")

    assert peak_megabytes(7, tmp_path) == 2.0
    assert peak_megabytes(8, tmp_path) == 0.0


@asynccontextmanager
async def replica(status: int, seen: list[int]) -> AsyncGenerator[str]:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        seen.append(status)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serve_http(app, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


async def ask(client: httpx.AsyncClient, url: str, _number: int) -> httpx.Response:
    return await client.get(url)


async def test_a_caller_takes_replicas_in_turn_and_the_other_one_when_one_does_not_answer() -> None:
    seen: list[int] = []
    async with AsyncExitStack() as stack:
        good, bad = [await stack.enter_async_context(replica(status, seen)) for status in (200, 503)]
        caller = Caller([good, bad], ask, 0.0)
        async with httpx.AsyncClient(trust_env=False) as client:
            for number in range(4):
                await caller.once(client, number)

    assert seen == [200, 503, 200, 200, 503, 200]
    assert (caller.asked, caller.turned, caller.failed) == (4, 2, 0)


async def test_a_request_that_no_replica_answers_has_failed() -> None:
    async with replica(503, []) as bad:
        caller = Caller(["http://127.0.0.1:9", bad], ask, 60.0)
        async with httpx.AsyncClient(trust_env=False) as client:
            await caller.once(client, 0)

    assert (caller.asked, caller.turned, caller.failed) == (1, 0, 1)


async def test_a_caller_that_insists_makes_the_same_request_until_it_is_answered() -> None:
    asked: list[int] = []

    async def ask_third_time_lucky(_client: httpx.AsyncClient, url: str, number: int) -> httpx.Response:
        asked.append(number)
        return httpx.Response(200 if len(asked) >= 3 else 503, request=httpx.Request("GET", url))

    caller = Caller(["http://127.0.0.1:9"], ask_third_time_lucky, 0.0, insists_s=60, most=2)
    await caller.run()

    assert asked == [0, 0, 0, 1]
    assert (caller.asked, caller.answered, caller.failed) == (2, 2, 0)


@dataclass
class Gateway:
    gateway_id: bytes
    server: tuple[str, int] = ("127.0.0.1", 0)

    def turn_to(self, server: tuple[str, int]) -> None:
        self.server = server


@dataclass
class Gateways:
    gateways: list[Gateway]


async def test_gateways_of_a_bridge_that_is_not_ready_go_to_the_other_and_come_back() -> None:
    seen: list[int] = []
    load = Gateways([Gateway(bytes([number])) for number in range(4)])

    def ports() -> list[int]:
        return [gateway.server[1] for gateway in load.gateways]

    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(replica(200, seen)) for _ in range(2)]
        dead = "http://127.0.0.1:9"
        bridges = [ServiceInfo("b-1", 1, 0, "", dead, {"udp": 1}), ServiceInfo("b-2", 1, 0, "", two, {"udp": 2})]
        balancer = Balancer(load, bridges)  # pyright: ignore[reportArgumentType]
        await balancer.look()
        with_one_dead = ports()
        balancer.bridges = [replace_health(bridges[0], one), bridges[1]]
        await balancer.look()

    assert with_one_dead == [2, 2, 2, 2]
    assert ports() == [1, 2, 1, 2]
    assert balancer.behind(bridges[0]) == {b"\x00", b"\x02"}


def replace_health(service: ServiceInfo, url: str) -> ServiceInfo:
    return ServiceInfo(service.name, service.pid, service.restarts, service.log, url, service.ports)


def shown() -> Shown:
    whole = Account(sent=100, heard=100, stored=98, left_out=2)
    work = {service: {f"{service}-1": 40, f"{service}-2": 60} for service in WORK}
    scenario = {
        "taken": 9, "stored": 9, "heard": 9, "alerts": 9, "alarmed": 9, "webhook_ids": 9, "assets_notified": 9,
        "deliveries": 10, "forged": 0, "commands": {"asked": 5, "sent": 5, "forgotten": 0},
    }  # fmt: skip
    caller = {"asked": 9, "turned": 1, "failed": 0, "slowest_s": 0.4}
    blow = Blow("network-1", True, 0, 1, 6.44, 1.5, 3.0, 50, 50, 0.4, 7.1)
    return Shown(
        Options(), 4, Shares(work), Split(8, 20, 10, 9, 1, Account(sent=20, heard=20, stored=20)), [blow], whole,
        scenario, dict.fromkeys(("intake", "api"), caller), {"network-1": 71.6}, 12,
    )  # fmt: skip


def test_all_is_well_when_every_count_agrees() -> None:
    figures = figures_of(shown())

    assert figures["wrong"] == []
    assert figures["lost_at_the_edge"] == 2
    assert figures["kills"][0]["served_again_s"] == 6.44


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"account": Account(sent=2, heard=2, stored=1, missing=1)}, "charge : le compte n'est pas juste"),
        ({"account": Account(sent=2, heard=2, stored=3, duplicates=1)}, "charge : le compte n'est pas juste"),
        ({"split": Split(8, 20, 10, 4, 0, Account())}, "passerelles partagées : 4 réponses sur 10"),
        ({"split": Split(8, 20, 0, 0, 0, Account())}, "passerelles partagées : 0 réponses sur 0"),
        ({"blows": [Blow("ingest-2", False, 0)]}, "ingest-2 : le travail n'a pas été repris"),
        ({"shares": Shares({"api": {"api-1": 3, "api-2": 0}})}, "api-2 n'a rien fait"),
        ({"callers": {"api": {"failed": 2}}}, "api : 2 demandes sans réponse"),
        ({"scenario": shown().scenario | {"webhook_ids": 10}}, "webhook_ids : 10 pour 9 messages"),
        ({"scenario": shown().scenario | {"stored": 8}}, "stored : 8 pour 9 messages"),
        ({"scenario": shown().scenario | {"forged": 1}}, "1 webhooks mal signés"),
    ],
)  # fmt: skip
def test_the_report_names_every_figure_that_is_wrong(harm: dict[str, Any], said: str) -> None:
    assert said in figures_of(replace(shown(), **harm))["wrong"]


def test_the_tables_are_read_by_people() -> None:
    out = StringIO()
    print_scaling(Console(file=out, width=130), figures_of(shown()))

    text = out.getvalue()
    assert "network-1" in text
    assert "6,4" in text
    assert "9, 9, 10" in text
    assert "Chaque réplique a survécu à l'autre" in text
    out = StringIO()
    print_scaling(Console(file=out, width=130), figures_of(replace(shown(), blows=[Blow("api-1", True, 0)])))
    assert "le travail n'a pas été repris" in out.getvalue()
    assert "jamais" in out.getvalue()


def test_the_work_is_counted_under_names_that_the_services_have() -> None:
    for module in (
        "alerting.engine", "core.runtime.http.middleware", "ingest.telemetry", "gateways.telemetry",
        "integrations.lns.telemetry", "lighting.sweep", "ingest.maintenance.telemetry",
        "indicators.telemetry",
        "network.telemetry",
    ):  # fmt: skip
        importlib.import_module(module)
    suffixes = {"counter": "_total", "histogram": "_count"}
    known = {family.name + suffixes.get(family.type, "") for family in REGISTRY.collect()}

    assert {metric for metric, _ in WORK.values()} <= known
    # As `bench network` counts what the bus has.
    assert "territoire_gateway_bridge_uplinks_total" in known
