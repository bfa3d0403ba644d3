"""A process that lives and does not do its work rings, and no other alarm: by the rules as they are applied."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from services.supervisor.ports import free_tcp_port
from tests.k8s.conftest import render
from tests.services.test_dependencies_away import started
from tests.system.alarm_stage import Scrape, Stage, names_in, play, written_test

pytestmark = pytest.mark.starts_processes

LOOK_EVERY_S = 1.0
RINGING = 'count by (alertname, app_kubernetes_io_name) (ALERTS{alertstate="firing",severity="critical"})'
NOT_READY = '{alertname="ServicePasPret", app_kubernetes_io_name="%s"}'
ANSWERED = "territoire_bus_streams_answered_timestamp_seconds"
BUS_SILENT = '{alertname="BusSansReponse"}'


def shown_in(text: str, name: str) -> float:
    """The value of a series without labels."""
    [value] = [line.partition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(value)


async def shown(service: str, nats_url: str = "nats://127.0.0.1:1", *, answered: bool = False) -> list[Scrape]:
    """What it shows where nothing listens at the address of its database; `answered`: until the bus has twice."""
    away = f"postgresql://x:y@127.0.0.1:{free_tcp_port()}/z"
    scrapes = list[Scrape]()
    async with started(service, away, nats_url) as process:
        await process.says("database_waited_for")
        assert [(await process.status(page))[0] for page in ("/livez", "/readyz")] == [200, 503]
        seen = set[float]()
        async with asyncio.timeout(120):
            while len(scrapes) < 3 or (answered and len(seen) < 3):
                scrapes.append(Scrape(time.time(), service, await process.metrics()))
                if answered:
                    seen.add(shown_in(scrapes[-1].text, ANSWERED))
                await asyncio.sleep(LOOK_EVERY_S)
    return scrapes


def asked_for(rules: str) -> set[str]:
    """Every series of ours that the overlay's rules ask for."""
    return names_in({"groups": groups_of(rules)})


def groups_of(overlay: str) -> list[Any]:
    return [group for one in render(overlay).of("PrometheusRule") for group in one["spec"]["groups"]]


def rings(
    scrapes: list[Scrape], asked: Sequence[tuple[float, set[str]]], folder: Path, hours: float = 1 / 6
) -> None:
    """Only these wake somebody, at so many seconds; the other services are as they are where all is well."""
    for overlay in ("staging", "production"):
        stage = Stage.of(scrapes, asked_for(overlay), 15).carried_on(hours)
        rules = {"groups": [{**one, "rules": [rule for rule in one["rules"] if "absent(" not in rule["expr"]]}
                            for one in groups_of(overlay)]}  # fmt: skip
        expected = [(at, RINGING, dict.fromkeys(names, 1.0)) for at, names in asked]
        wrong = play(rules, [written_test("away", stage, expected)], folder)
        assert not wrong, wrong


@pytest.mark.parametrize("service", ["lighting", "maintenance"])
async def test_a_service_with_a_wrong_database_wakes_somebody(service: str, tmp_path: Path) -> None:
    not_ready = NOT_READY % service
    rings(await shown(service), [(4 * 60, set()), (7 * 60, {not_ready})], tmp_path)


async def test_a_restore_that_nobody_could_ask_about_is_not_late(tmp_path: Path) -> None:
    """It rings after an hour."""
    rings(await shown("maintenance"), [(100 * 60, {NOT_READY % "maintenance"})], tmp_path, hours=2)


async def test_a_bus_that_answers_is_not_missed_while_the_database_is_away(nats_url: str, tmp_path: Path) -> None:
    scrapes = await shown("alerting", nats_url, answered=True)

    rings(scrapes, [(7 * 60, {NOT_READY % "alerting"})], tmp_path)


async def test_a_bus_that_has_never_answered_is_missed_whatever_the_database_does(tmp_path: Path) -> None:
    rings(await shown("alerting"), [(60, set()), (7 * 60, {NOT_READY % "alerting", BUS_SILENT})], tmp_path)
