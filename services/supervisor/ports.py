"""Free ports on the loopback address."""

import errno
import random
import socket

from core.runtime.errors import system_reason

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes the local ports of outgoing connections: between our choice
# and the server's bind, none of them can land on it.
CANDIDATES = range(20_000, 32_000)
# Chosen by this process: until its server binds it, a port looks free to who asks next.
_chosen: set[int] = set()


class PortTaken(Exception):
    """A port that was asked for by number cannot be had. The message says which, and why."""

    def __init__(self, what: str, *, is_elsewhere: bool = False) -> None:
        super().__init__(what)
        self.is_elsewhere = is_elsewhere
        """The address is not of this machine, and no other port would be had either."""


def _bound(kind: socket.SocketKind, host: str, port: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As the servers do: a connection in TIME_WAIT does not keep a port from its next owner.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def _free(kind: socket.SocketKind) -> int:
    if len(_chosen) > len(CANDIDATES) // 2:
        _chosen.clear()
    for _ in range(200):
        candidate = random.SystemRandom().choice(CANDIDATES)
        if candidate in _chosen:
            continue
        try:
            port = _bound(kind, LOOPBACK, candidate)
        except OSError:
            continue
        _chosen.add(port)
        return port
    raise PortTaken(f"aucun port libre entre {CANDIDATES.start} et {CANDIDATES.stop - 1}")


def free_tcp_port() -> int:
    """A TCP port that nobody listens on at this instant."""
    return _free(socket.SOCK_STREAM)


def free_udp_port() -> int:
    """A UDP port that nobody listens on at this instant."""
    return _free(socket.SOCK_DGRAM)


def tcp_port(wanted: int, host: str = LOOPBACK) -> int:
    """The wanted TCP port, or a free one for 0.

    Raises:
        PortTaken: somebody listens on it, or it may not be bound.
    """
    return _wanted("TCP", socket.SOCK_STREAM, wanted, host) if wanted else free_tcp_port()


def udp_port(wanted: int, host: str = LOOPBACK) -> int:
    """The wanted UDP port, or a free one for 0.

    Raises:
        PortTaken: somebody listens on it, or it may not be bound.
    """
    return _wanted("UDP", socket.SOCK_DGRAM, wanted, host) if wanted else free_udp_port()


def _wanted(protocol: str, kind: socket.SocketKind, wanted: int, host: str) -> int:
    try:
        return _bound(kind, host, wanted)
    except OSError as refused:
        is_elsewhere = isinstance(refused, socket.gaierror) or refused.errno == errno.EADDRNOTAVAIL
        raise PortTaken(
            f"port {protocol} {wanted} sur {host} : {system_reason(refused)}", is_elsewhere=is_elsewhere
        ) from refused
