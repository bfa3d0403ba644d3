"""Each process's login to the bus may what the process does there, and nothing else."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import nats
import pytest
from prometheus_client import REGISTRY

from cli.examination import examine_bus
from cli.findings import Severity
from cli.place import Place
from core.messages import topics
from core.messages.permissions import PERMISSIONS, USERS
from core.runtime import bus as bus_module
from core.runtime.bus import NoResponders, connect_bus
from core.runtime.bus_connection import VIOLATION, BusDenied
from registry.rights import LOGINS
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import free_tcp_port
from tests.conftest import run_apart, running
from tests.reachable import reachable
from tests.rooms import CHECKOUT

GATEWAY = bytes(7) + b"\x01"
# One of each subject that there is, by the name in `topics` that code mentions for it.
SUBJECTS = {
    "frames": topics.frames(1),
    "uplinks": topics.uplinks(1),
    "measurements": topics.measurements(1),
    "downlink_due": topics.downlink_due(1),
    "downlink_done": topics.downlink_done(1),
    "gateway_down": topics.gateway_down(GATEWAY),
    "gateway_claim": topics.gateway_claim(GATEWAY),
    "gateway_owner": topics.gateway_owner(GATEWAY),
    "live_frames": topics.live_frames("look"),
    "LIVE_LOOKS": topics.LIVE_LOOKS,
    "REGISTRY_CHANGED": topics.REGISTRY_CHANGED,
}
WILDCARDS = {
    "ALL_DOWNLINKS_DUE": "downlink_due",
    "ALL_DOWNLINKS_DONE": "downlink_done",
    "GATEWAY_CLAIMS": "gateway_claim",
}
# Of `core.runtime`, which everybody has, and what is no subject.
OF_EVERYBODY = {"FRAMES", "UPLINKS", "MEASUREMENTS", "ALL_FRAMES", "ALL_UPLINKS", "ALL_MEASUREMENTS"}
NO_SUBJECTS = {"shard_of_slot", "slot_of_asset", "slots_of_shard"}

PUBLISHERS = {
    "frames": {"gateway_bridge"},
    "uplinks": {"network", "intake"},
    "measurements": {"ingest", "api"},
    "downlink_due": {"intake", "lighting", "api"},
    "downlink_done": {"network", "intake"},
    "gateway_down": {"network"},
    "gateway_claim": {"gateway_bridge"},
    "gateway_owner": {"gateway_bridge"},
    "live_frames": {"network"},
    "LIVE_LOOKS": {"api"},
    "REGISTRY_CHANGED": {"ingest", "api"},
}
RECEIVERS = {
    "downlink_due": {"network", "intake"},
    "downlink_done": {"lighting"},
    "gateway_down": {"gateway_bridge"},
    "gateway_claim": {"gateway_bridge"},
    "gateway_owner": {"gateway_bridge"},
    "live_frames": {"api"},
    "LIVE_LOOKS": {"network"},
    "REGISTRY_CHANGED": {"gateway_bridge", "network", "intake", "ingest", "alerting"},
}
# Among the replicas of a service, which own shards of it.
SHARES = {topics.shards_moved(service): {service} for service in ("network", "ingest", "alerting")}
READERS = {"FRAMES": "network", "UPLINKS": "ingest", "MEASUREMENTS": "alerting"}
# What nobody but the owner may do to a stream.
OF_THE_OWNER = ("STREAM.DELETE.{}", "STREAM.PURGE.{}", "STREAM.UPDATE.{}", "STREAM.MSG.DELETE.{}")
READING = ("CONSUMER.LIST.{}", "CONSUMER.MSG.NEXT.{}.x", "CONSUMER.CREATE.{}.x.territoire.{}.0")


def matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    return len(wanted) == len(given) and all(one in {"*", token} for one, token in zip(wanted, given, strict=True))


def mentioned_by(service: str) -> set[str]:
    """The subjects that the code of a process names."""
    names = {name for home, name in reachable(service) if home == "core.messages.topics"}
    if service == "api":  # Its routes are found by their decorators, not by their names.
        for file in (CHECKOUT / "api").rglob("*.py"):
            names |= set(re.findall(r"\btopics\.(\w+)", file.read_text("utf-8")))
    return {WILDCARDS.get(name, name) for name in names - OF_EVERYBODY - NO_SUBJECTS}


def test_every_process_has_a_login_to_the_bus_named_as_that_to_the_database() -> None:
    assert USERS == LOGINS


@pytest.mark.parametrize("service", PERMISSIONS)
def test_a_process_may_use_the_subjects_that_its_code_names_and_no_others(service: str) -> None:
    granted, mentioned = PERMISSIONS[service], mentioned_by(service)
    read = {stream.lower() for stream, reader in READERS.items() if reader == service}
    patterns = {*granted.publishes, *granted.subscribes}
    subjects = SUBJECTS | {"shards_moved": topics.shards_moved(service)}

    used = {pattern for pattern in patterns if any(matches(pattern, subjects[name]) for name in mentioned)}
    missing = {
        name for name in mentioned - read if not any(matches(pattern, subjects[name]) for pattern in patterns)
    }

    assert (patterns - used, missing) == (set(), set())


@pytest.fixture(scope="module")
def limited(server_folder: Path) -> Iterator[PrivateNats]:
    """A server with the users of a home."""
    server = PrivateNats(
        server_folder / "bus-users",
        free_tcp_port(),
        secrets.token_hex(16),
        f"territoire-users-{secrets.token_hex(4)}",
        durable=False,
        users={service: secrets.token_hex(16) for service in USERS},
    )
    server.prepare()
    with running(server.launch(), server.ready, server_folder / "bus-users.log"):
        run_apart(make_streams(server))
        yield server


async def make_streams(server: PrivateNats) -> None:
    async with connect_bus(server.url, "test") as bus:
        await bus.ensure_streams()


async def denied(server: PrivateNats, service: str, publish: list[str], subscribe: list[str]) -> set[str]:
    """What of this the server denies the service."""
    said: list[str] = []

    async def record(error: Exception) -> None:
        said.append(str(error))

    client = await nats.connect(server.url_of(service), error_cb=record)
    for subject in publish:
        await client.publish(subject, b"", reply=f"_INBOX.{USERS[service]}.answer")
    for subject in subscribe:
        await client.subscribe(subject)
    for _ in range(2):  # The driver's ping may overtake what was sent before it; the second does not.
        await client.flush()
    await client.close()
    return {f"{kind} {subject}" for text in said for kind, subject in VIOLATION.findall(text)}


async def test_each_process_is_denied_everything_that_is_not_its_own(limited: PrivateNats) -> None:
    streams = {
        f"$JS.API.{request.format(stream, stream.lower())}": readers
        for stream, reader in READERS.items()
        for requests, readers in ((READING, {reader}), (OF_THE_OWNER, set[str]()))
        for request in requests
        # Shards of a work queue are taken over; what is in memory is followed.
        if not request.startswith("CONSUMER.LIST" if stream == "MEASUREMENTS" else "CONSUMER.CREATE")
    }
    streams["$JS.API.STREAM.PURGE.MEASUREMENTS"] = {"maintenance"}  # Of what an erasure has erased.
    publishing = {SUBJECTS[name]: services for name, services in PUBLISHERS.items()} | SHARES | streams
    receiving = {SUBJECTS[name]: RECEIVERS.get(name, set[str]()) for name in SUBJECTS} | SHARES
    everywhere = [">", "territoire.>", "_INBOX.>", "$JS.>", "$SYS.>", "$KV.>", "territoire.nobody"]
    found: dict[str, set[str]] = {}
    wanted: dict[str, set[str]] = {}
    for service in USERS:
        others = [f"_INBOX.{user}.x" for user in USERS.values() if user != USERS[service]]
        found[service] = await denied(limited, service, [*publishing, *others], [*receiving, *everywhere, *others])
        wanted[service] = {
            *(f"publish {subject}".lower() for subject, may in publishing.items() if service not in may),
            *(f"subscription {subject}".lower() for subject, may in receiving.items() if service not in may),
            *(f"subscription {subject}".lower() for subject in everywhere),
            *(f"{kind} {subject}".lower() for kind in ("publish", "subscription") for subject in others),
        }

    assert found == wanted


async def test_each_process_does_on_the_bus_what_it_does(limited: PrivateNats) -> None:
    async with contextlib.AsyncExitStack() as stack:
        buses = {
            service: await stack.enter_async_context(connect_bus(limited.url_of(service), "test"))
            for service in USERS
        }
        following = await buses["alerting"].follow_from_now(topics.MEASUREMENTS, topics.measurements(1))
        for stream, publisher, reader, subject in (
            (topics.FRAMES, "gateway_bridge", "network", topics.frames(1)),
            (topics.UPLINKS, "network", "ingest", topics.uplinks(1)),
            (topics.UPLINKS, "intake", "ingest", topics.uplinks(1)),
        ):
            await buses[publisher].publish(subject, b"x", secrets.token_hex(8))
            shard = await buses[reader].read_shard(stream, subject, secrets.token_hex(8))
            async with asyncio.timeout(20):
                while not (read := await shard.fetch(10)):
                    pass
            await read[0].in_progress()
            await read[0].ack()
            await shard.backlog()
            await shard.close()
        await buses["ingest"].ensure_measurements_stream()
        await buses["alerting"].ensure_measurements_stream()
        await buses["ingest"].publish(topics.measurements(1), b"x")
        async with asyncio.timeout(20):
            while not await following.fetch(10):
                pass
        await buses["api"].publish(topics.measurements(1), b"x", secrets.token_hex(8))
        positions = await buses["maintenance"].positions()
        assert positions.keys() == READERS.keys()
        assert await buses["maintenance"].is_read_up_to({topics.MEASUREMENTS: positions[topics.MEASUREMENTS]})
        assert await buses["maintenance"].stream_messages(topics.MEASUREMENTS) == 0

        async def answer(_data: bytes) -> bytes:
            return b"sent"

        await buses["gateway_bridge"].respond(topics.gateway_down(GATEWAY), answer, queue="bridge")
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(NoResponders):
                    assert await buses["network"].request(topics.gateway_down(GATEWAY), b"", 20) == b"sent"
                    break
        with pytest.raises(NoResponders):
            await buses["gateway_bridge"].request(topics.gateway_owner(GATEWAY), b"", 20)
        assert all([await bus.answers(20) for bus in buses.values()])
        assert {service: bus.denials for service, bus in buses.items() if bus.denials} == {}


async def test_doctor_names_the_processes_that_come_by_the_owner_s_login(limited: PrivateNats) -> None:
    place = Place(nats_url=limited.url)
    async with connect_bus(limited.url_of("ingest"), "ingest-1"):
        alone = await examine_bus(place)
        async with connect_bus(limited.url, "network-1"), connect_bus(limited.url, "simulator"):
            shared = await examine_bus(place)

    assert [finding.severity for finding in alone] == [Severity.GOOD], alone
    assert [finding.severity for finding in shared] == [Severity.WARNING], shared
    assert shared[0].names == ("network-1",)


async def test_what_is_denied_is_an_error_and_counted_not_a_silence(
    limited: PrivateNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "PUBLISH_TIMEOUT_S", 0.2)

    def counted() -> float:
        return REGISTRY.get_sample_value("territoire_bus_denied_total", {"operation": "publish"}) or 0

    before = counted()
    async with connect_bus(limited.url_of("gateway_bridge"), "test") as bus:
        for asking in (
            lambda: bus.publish_once(topics.measurements(1), b"x"),
            lambda: bus.read_shard(topics.FRAMES, topics.frames(1), "x"),
            lambda: bus.request(topics.gateway_down(GATEWAY), b"x", 0.2),
        ):
            await until_denied(asking)

    assert counted() - before >= 3


async def until_denied(asking: Callable[[], Awaitable[object]]) -> None:
    """The server may take longer than we wait."""
    async with asyncio.timeout(20):
        while True:
            try:
                await asking()
            except BusDenied:
                return
            except TimeoutError:
                continue
