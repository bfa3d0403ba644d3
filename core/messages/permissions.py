"""Which process may publish and receive what on the bus: one login for each process, and exactly these subjects.

nats-server's users are made of this table (`services.supervisor.nats`); a test compares it with what the code of
each process mentions, another asks a server for what each may not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.messages import topics

OWNER = "territoire"
"""The login that may everything: it makes the streams, and is no service's."""
OWN_INBOX = "_INBOX"


def _api(*requests: str) -> tuple[str, ...]:
    return tuple(f"$JS.API.{request}" for request in requests)


# `status` and `doctor` in the container of any process.
_STATE = _api(*(f"STREAM.INFO.{stream}" for stream in (topics.FRAMES, topics.UPLINKS, topics.MEASUREMENTS)))
# MEASUREMENTS is in memory: who misses it makes it.
_REMAKE = _api(f"STREAM.CREATE.{topics.MEASUREMENTS}")


def _takes_shards_of(stream: str) -> tuple[str, ...]:
    """Take a work queue's shards over, read and acknowledge them."""
    requests = ("LIST.{0}", "DELETE.{0}.*", "DURABLE.CREATE.{0}.*", "INFO.{0}.*", "MSG.NEXT.{0}.*")
    return (
        *_api(*(f"CONSUMER.{request.format(stream)}" for request in requests), f"STREAM.MSG.GET.{stream}"),
        f"$JS.ACK.{stream}.>",
    )


def _follows(stream: str, subjects: str) -> tuple[str, ...]:
    """Read what is published from now on by a consumer without acknowledgements."""
    requests = ("CREATE.{0}.*.{1}", "INFO.{0}.*", "MSG.NEXT.{0}.*")
    return _api(*(f"CONSUMER.{request.format(stream, subjects)}" for request in requests))


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects beside those of the streams' interface and the process's own inbox."""

    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    """Subjects of requests to JetStream, and of acknowledgements."""
    answers: bool = False
    """Whether it answers the requests that it receives, once each."""


PERMISSIONS: Mapping[str, Permissions] = {
    "gateway_bridge": Permissions(
        publishes=(topics.ALL_FRAMES, topics.GATEWAY_CLAIMS, topics.GATEWAY_OWNERS),
        subscribes=(
            topics.GATEWAY_DOWNS,
            topics.GATEWAY_CLAIMS,
            topics.GATEWAY_OWNERS,
            topics.REGISTRY_CHANGED,
        ),
        answers=True,
    ),
    "network": Permissions(
        publishes=(
            topics.ALL_UPLINKS,
            topics.ALL_DOWNLINKS_DONE,
            topics.GATEWAY_DOWNS,
            topics.ALL_LIVE_FRAMES,
            topics.shards_moved("network"),
        ),
        subscribes=(
            topics.ALL_DOWNLINKS_DUE,
            topics.LIVE_LOOKS,
            topics.REGISTRY_CHANGED,
            topics.shards_moved("network"),
        ),
        streams=_takes_shards_of(topics.FRAMES),
    ),
    "intake": Permissions(
        publishes=(topics.ALL_UPLINKS, topics.ALL_DOWNLINKS_DUE, topics.ALL_DOWNLINKS_DONE),
        subscribes=(topics.ALL_DOWNLINKS_DUE, topics.REGISTRY_CHANGED),
    ),
    "ingest": Permissions(
        publishes=(topics.ALL_MEASUREMENTS, topics.REGISTRY_CHANGED, topics.shards_moved("ingest")),
        subscribes=(topics.REGISTRY_CHANGED, topics.shards_moved("ingest")),
        streams=(*_takes_shards_of(topics.UPLINKS), *_REMAKE),
    ),
    "alerting": Permissions(
        publishes=(topics.shards_moved("alerting"),),
        subscribes=(topics.REGISTRY_CHANGED, topics.shards_moved("alerting")),
        streams=(*_follows(topics.MEASUREMENTS, topics.ALL_MEASUREMENTS), *_REMAKE),
    ),
    "lighting": Permissions(
        publishes=(topics.ALL_DOWNLINKS_DUE,),
        subscribes=(topics.ALL_DOWNLINKS_DONE,),
    ),
    # It connects while an erasure waits for the streams.
    "maintenance": Permissions(streams=_api(f"STREAM.PURGE.{topics.MEASUREMENTS}")),
    # It reads the feed, which is a table: it does not connect.
    "indicators": Permissions(),
    "api": Permissions(
        publishes=(
            topics.REGISTRY_CHANGED,
            topics.ALL_DOWNLINKS_DUE,
            topics.ALL_MEASUREMENTS,
            topics.LIVE_LOOKS,
        ),
        subscribes=(topics.ALL_LIVE_FRAMES,),
    ),
}
USERS: Mapping[str, str] = {service: f"territoire_{service}" for service in PERMISSIONS}
"""The login of each process."""


def inbox_of(user: str) -> str:
    """Under which subject answers to this login come: no other login hears them."""
    return f"{OWN_INBOX}.{user}"


def published_by(service: str) -> tuple[str, ...]:
    """Every subject on which a process may publish, in the server's own form."""
    granted = PERMISSIONS[service]
    return (*granted.publishes, *granted.streams, *_STATE, f"{inbox_of(USERS[service])}.>")


def received_by(service: str) -> tuple[str, ...]:
    """Every subject to which a process may subscribe."""
    return (*PERMISSIONS[service].subscribes, f"{inbox_of(USERS[service])}.>")
