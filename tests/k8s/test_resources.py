"""What a pod may use is what was measured that it needs (docs/scaling.md), and more."""

import re

import pytest

from gateways.batcher import MAX_WAITING
from lab.bench.sizing import MEASURED, WAITING_FRAME_OCTETS, Assumed, Need
from tests.k8s.conftest import Rendered, containers_of, render

SHARDS = 16
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def octets(text: str) -> int:
    matched = re.fullmatch(r"(\d+)([KMG]i)", text)
    assert matched is not None
    return int(matched[1]) * UNITS[matched[2]]


def memory_of(rendered: Rendered, deployment: str) -> tuple[int, int]:
    [container] = containers_of(rendered.named("Deployment", deployment))
    resources = container["resources"]
    return octets(resources["requests"]["memory"]), octets(resources["limits"]["memory"])


def test_a_bridge_may_hold_every_frame_that_it_promises_to_hold_while_the_bus_is_away() -> None:
    _, limit = memory_of(render("production"), "gateway-bridge")

    assert (
        limit >= MEASURED.megabytes["gateway_bridge"][0] * 1_000_000 + SHARDS * MAX_WAITING * WAITING_FRAME_OCTETS
    )


@pytest.mark.parametrize("process", sorted(MEASURED.megabytes))
def test_a_service_has_room_for_a_hundred_thousand_devices_when_it_is_alone(process: str) -> None:
    requested, limit = memory_of(render("production"), process.replace("_", "-"))
    base, _ = MEASURED.megabytes[process]

    assert requested >= base * 1_000_000
    assert limit >= Need(100_000, MEASURED, Assumed()).memory(process)
