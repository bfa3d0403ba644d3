"""Turns connections away while descriptors are scarce: the database, the bus and probes must always find one."""

import resource

from prometheus_client import Counter

RESERVED = 64
# Who asks how a process is doing is answered when nobody else is any more.
RESERVED_FROM_PROBES = 16
ANSWER = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"

REFUSED = Counter(
    "territoire_http_connections_refused_total",
    "Connections turned away because the process has hardly a descriptor left",
)


def leaves_room(descriptor: int, reserved: int) -> bool:
    """Whether so many may still be opened after this one, which has the lowest number that was free."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return descriptor + min(reserved, most // 4) < most
