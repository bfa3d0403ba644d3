"""What KEDA scales by is what a nats-server with the pods' configuration answers."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from core.messages import topics
from core.messages.permissions import USERS
from core.runtime.bus import connect_bus
from services.supervisor.launch import program
from services.supervisor.ports import free_tcp_port
from tests.k8s.conftest import Manifest, render
from tests.k8s.servers import COMPONENTS, here, start

# Without quotes nats-server takes it for a number.
PASSWORD = "6e056f31134f2bfae1c2434df9de5f48"
WAITING = {"network": (topics.FRAMES, topics.frames(0), 3), "ingest": (topics.UPLINKS, topics.uplinks(0), 5)}


def read(answer: Manifest, place: str) -> int:
    """A path as GJSON reads it, as far as ours go: names, an index, and `#(name=="X")`."""
    found: object = answer
    for step in re.findall(r'#\(name=="\w+"\)|\w+', place):
        if step.startswith("#"):
            [found] = [item for item in found if item["name"] == step.split('"')[1]]  # type: ignore[union-attr]
        else:
            found = found[int(step) if step.isdigit() else step]  # type: ignore[index]
    assert isinstance(found, int)
    return found


@pytest.mark.starts_processes
def test_keda_reads_how_much_waits_where_the_manifests_say(tmp_path: Path) -> None:
    port, monitor = free_tcp_port(), free_tcp_port()
    configuration = here((COMPONENTS / "nats-single" / "nats.conf").read_text("utf-8"), tmp_path, port, monitor)
    (tmp_path / "nats.conf").write_text(configuration, "utf-8")

    async def fill() -> None:
        async with connect_bus(f"nats://territoire:{PASSWORD}@127.0.0.1:{port}", "test") as bus:
            await bus.ensure_streams()
        # Each by the login of a service that may: the very users of the pods.
        for publisher, (_, subject, count) in zip(("gateway_bridge", "network"), WAITING.values(), strict=True):
            url = f"nats://{USERS[publisher]}:{PASSWORD}@127.0.0.1:{port}"
            async with connect_bus(url, "test") as bus:
                for _ in range(count):
                    await bus.publish_once(subject, b"x")

    binary = program("nats-server", "nats-server")
    passwords = {f"{service.upper()}_BUS": f'"{PASSWORD}"' for service in USERS}
    passwords["NATS_PASSWORD"] = f'"{PASSWORD}"'
    server = start(binary, "-c", str(tmp_path / "nats.conf"), POD_NAME="nats-0", **passwords)
    try:
        asyncio.run(fill())
        scaled = render("production").of("ScaledObject")
        assert {scaler["metadata"]["name"] for scaler in scaled} == WAITING.keys()
        for scaler in scaled:
            [trigger] = scaler["spec"]["triggers"]
            url = urlsplit(trigger["metadata"]["url"])
            assert (url.hostname, url.port) == ("nats.territoire.svc", 8222)
            with urlopen(f"http://127.0.0.1:{monitor}{url.path}?{url.query}") as response:
                answer = json.load(response)
            stream, _, count = WAITING[scaler["metadata"]["name"]]
            assert f'"{stream}"' in trigger["metadata"]["valueLocation"]
            assert read(answer, trigger["metadata"]["valueLocation"]) == count
    finally:
        server.terminate()
        server.wait()
