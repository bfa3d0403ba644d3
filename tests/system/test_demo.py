"""The main job itself: the pilot fleet on the air, an account that balances, and a screen that shows it."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from core.model.identities import span_of
from lab.fleet.pilot import PILOT_DEVICES, plan_pilot
from lab.simulator.demo import NAME, REPORT
from lab.simulator.report import MOST_MEMORY_MB
from services.supervisor.run_info import read_run_info
from services.supervisor.stack import checkout
from services.supervisor.stack_options import SERVICES
from tests.k8s.conftest import render
from tests.otlp import Collector, collector
from tests.system.alarm_plays import FOREIGN, ITS_OWN, PLAYS, Play
from tests.system.alarm_stage import Scrape, Stage, names_in, play, steady, written_test
from tests.system.exposed_metrics import EVERY, LABELLED, MOVED, OF_SERVICE

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

LOOK_EVERY_S = 5.0
TRACING = ("gateway_bridge", "network", "intake", "ingest", "alerting")
SENDING_MB = 10.0  # What OpenTelemetry's SDK takes in each.
STAGES = ("gateway_bridge", "network", "ingest", "alerting", "webhook")
PARENTS = {"network": "gateway_bridge", "ingest": "network"}


@dataclass
class Watched:
    """A demonstration that has ended, and what was seen of it."""

    returncode: int
    output: str
    report: dict[str, Any]
    spans: Collector
    pages: dict[str, list[Sample]] = field(default_factory=dict)
    """The last that each service has shown at /metrics."""
    scrapes: list[Scrape] = field(default_factory=list[Scrape])
    """All that they have shown there, every `LOOK_EVERY_S`."""
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


async def look(home: Path, report: Path, pages: dict[str, str], scrapes: list[Scrape]) -> None:
    """Until the account is drawn up; then the services end, and what they show ends piece by piece."""
    async with httpx.AsyncClient(timeout=5) as client:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            seen: dict[str, str] = {}
            with suppress(FileNotFoundError, httpx.HTTPError):
                for service in read_run_info(home).services:
                    if service.health_url is not None:
                        answer = await client.get(f"{service.health_url}/metrics")
                        seen[service.name] = answer.raise_for_status().text
                if not report.exists():  # noqa: ASYNC240 - A file that is there or not.
                    pages |= seen
                    at = time.time()
                    scrapes += [Scrape(at, service, text) for service, text in seen.items()]


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Watched]:
    """Every frame of it is followed."""
    at, pages, scrapes = tmp_path_factory.mktemp("demo"), dict[str, str](), list[Scrape]()
    argv = ["-m", "lab", "demo", "--home", str(demo_folder), "--exit-after", "110", "--pace", "2"]
    async with collector() as spans:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            cwd=at,
            env={
                "PYTHONPATH": str(checkout()),
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "LANG": "C.UTF-8",
                "TERRITOIRE_TRACE_RATIO": "1",
                "OTEL_EXPORTER_OTLP_ENDPOINT": spans.url,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        looking = asyncio.create_task(look(demo_folder, at / REPORT, pages, scrapes))
        output, _ = await process.communicate()
        looking.cancel()
    read = {
        name: [s for f in text_string_to_metric_families(page) for s in f.samples] for name, page in pages.items()
    }
    logs = {name: lines(demo_folder / "logs" / f"{name}.log") for name in SERVICES}
    report = json.loads((at / REPORT).read_text("utf-8")) if (at / REPORT).exists() else {}
    yield Watched(process.returncode or 0, output.decode(), report, spans, read, scrapes, logs)


async def test_the_demonstration_balances_its_account(demo: Watched) -> None:
    untrue = {check["check"] for check in demo.report["checks"] if not check["holds"]}

    # Its limit is for a stack that sends no spans, which is what there is unless somebody asks.
    assert {check for check in untrue if not check.startswith("Mémoire")} == set(), demo.output[-6_000:]
    assert sum(demo.report["memory_mb"].values()) < MOST_MEMORY_MB + len(TRACING) * SENDING_MB
    assert demo.returncode == bool(untrue)
    assert demo.report["uplinks"]["heard"] == demo.report["uplinks"]["stored"] > 0


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_shows_what_the_reference_lists(demo: Watched, service: str) -> None:
    samples = demo.pages[service]
    shown = {sample.name for sample in samples}

    assert {*EVERY, *OF_SERVICE[service]} <= shown
    for name in MOVED.get(service, ()):
        assert sum(sample.value for sample in samples if sample.name == name) > 0, name
    for name, labels in LABELLED.get(service, {}).items():
        assert {frozenset(sample.labels) for sample in samples if sample.name == name} == {labels}, name
    [build] = [sample.labels for sample in samples if sample.name == "territoire_build_info"]
    assert build["service"] == service


async def test_the_bus_denied_no_process_anything(demo: Watched) -> None:
    assert [line for told in demo.logs.values() for line in told if line["event"] == "bus_denied"] == []


async def test_no_metric_has_a_label_per_device(demo: Watched) -> None:
    """Thousands of devices would be thousands of series of each metric."""
    euis = {plan.dev_eui.hex() for plan in plan_pilot(NAME).devices}
    labels = [label for samples in demo.pages.values() for sample in samples for label in sample.labels.items()]

    assert len(euis) == PILOT_DEVICES
    assert {name for name, _ in labels if re.search(r"dev_?eui|device", name)} == set()
    assert {value for _, value in labels} & euis == set()


async def test_one_trace_leads_from_the_datagram_to_the_webhook(demo: Watched) -> None:
    with_webhook = {span.trace_id for _, span in demo.spans.spans if span.name == "webhook"}
    traces = [demo.spans.of(trace_id) for trace_id in with_webhook]
    whole = [trace for trace in traces if trace.keys() >= set(STAGES)]

    assert whole, [sorted(trace) for trace in traces]
    for trace in whole:
        for stage in STAGES:
            resource, span = trace[stage]
            assert resource["service.name"] == ("alerting" if stage == "webhook" else stage)
            assert span.start_time_unix_nano <= span.end_time_unix_nano
        trace_id = trace["ingest"][1].trace_id
        assert trace["gateway_bridge"][1].parent_span_id == b""
        for stage, parent in PARENTS.items():
            assert trace[stage][1].parent_span_id == trace[parent][1].span_id == span_of(trace_id, parent)
        assert trace["alerting"][1].parent_span_id == trace["ingest"][1].span_id
        # A frame may open two alerts, with as many spans of alerting: the webhook's parent is one of them.
        notices = {s.span_id for _, s in demo.spans.spans if s.trace_id == trace_id and s.name == "alerting"}
        assert trace["webhook"][1].parent_span_id in notices


async def test_the_log_leads_the_same_way(demo: Watched) -> None:
    def by_trace(service: str, event: str) -> dict[str, dict[str, Any]]:
        return {line["trace_id"]: line for line in demo.logs[service] if line["event"] == event}

    attempts = by_trace("alerting", "webhook_attempted")
    stored, judged = by_trace("ingest", "uplink_stored"), by_trace("network", "frame_judged")
    forwarded = by_trace("gateway_bridge", "frame_forwarded")
    whole = attempts.keys() & stored.keys() & judged.keys() & forwarded.keys()

    assert whole
    for trace_id in whole:
        assert stored[trace_id]["dev_eui"] == judged[trace_id]["dev_eui"]
        assert stored[trace_id]["tenant"] == judged[trace_id]["tenant"] == attempts[trace_id]["tenant"]
        assert judged[trace_id]["gw_eui"] == forwarded[trace_id]["gw_eui"]
    for service, told in demo.logs.items():
        assert all({"ts", "level", "event", "service"} <= line.keys() for line in told), service


# Overlays that have rules, and how much of the demonstration is carried on: its end, when all has started.
MONITORED = ("staging", "production")
LOOKS_TAKEN = 9
FAILS_AT_MIN = 20
FIRING = 'ALERTS{alertstate="firing"}'


def rules_of(overlay: str) -> dict[str, Any]:
    """As they are applied."""
    return {"groups": [group for one in render(overlay).of("PrometheusRule") for group in one["spec"]["groups"]]}


@pytest.fixture(scope="module")
def recorded(demo: Watched) -> Stage:
    """What its services have shown while nothing was wrong."""
    looks = sorted({scrape.at for scrape in demo.scrapes})[-LOOKS_TAKEN:]
    shown = [scrape for scrape in demo.scrapes if scrape.at in looks]
    return Stage.of(shown, names_in(rules_of("production")), LOOK_EVERY_S)


def stage_of(recorded: Stage, minutes: float, asked: str = "") -> Stage:
    """So much of it, in a cluster that is well; of the series alone that this text asks for."""
    shown = Stage(
        recorded.step_s,
        recorded.steps,
        recorded.ended_at,
        [one for one in recorded.series if not asked or one.name in asked],
    )
    stage = shown.carried_on(minutes / 60)
    for selector, change in ITS_OWN.items():
        if not asked or selector in asked:
            stage = stage.with_change(selector, change, 0)
    stage.series += [steady(series, value, stage) for series, value in FOREIGN.items()]
    return stage


@pytest.mark.parametrize("overlay", MONITORED)
async def test_no_alarm_rings_in_an_hour_of_it(recorded: Stage, overlay: str, tmp_path: Path) -> None:
    asked = [(60.0 * minute, f"sum by (alertname) ({FIRING})", {}) for minute in range(2, 60)]

    rang = play(rules_of(overlay), [written_test("an hour", stage_of(recorded, 60), asked)], tmp_path)
    assert not rang, rang


def played(recorded: Stage, one: Play, rule: dict[str, Any], folder: Path) -> str:
    """What is wrong with how this rule rings; empty: it does, and had not before."""
    before, after = FAILS_AT_MIN - 1, FAILS_AT_MIN + one.within_min
    stage = stage_of(recorded, after + 2, f"{rule['expr']} {' '.join(one.changes)}")
    try:
        for selector, change in one.changes.items():
            stage = stage.with_change(selector, change, 60.0 * FAILS_AT_MIN)
    except LookupError as missing:
        return f"{one}: {missing}"
    stage.series = [series for series in stage.series if series.name in rule["expr"]]
    rings = f"count({FIRING}) > bool 0 or vector(0)"
    asked = [(60.0 * before, rings, {"{}": 0.0}), (60.0 * after, rings, {"{}": 1.0})]
    wrong = play({"groups": [{"name": "alone", "rules": [rule]}]}, [written_test(str(one), stage, asked)], folder)
    return wrong and f"{one}: {wrong}"


@pytest.mark.parametrize("overlay", MONITORED)
async def test_each_alarm_rings_when_what_the_services_show_goes_wrong(
    recorded: Stage, overlay: str, tmp_path: Path
) -> None:
    rules = {rule["alert"]: rule for group in rules_of(overlay)["groups"] for rule in group["rules"]}
    wrong = [found for one in PLAYS if (found := played(recorded, one, rules[one.alarm], tmp_path))]

    assert rules.keys() == {one.alarm for one in PLAYS}
    assert not wrong, "\n".join(wrong)
