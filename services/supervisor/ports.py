"""Free ports on the loopback address."""

import socket

LOOPBACK = "127.0.0.1"


class PortTaken(Exception):
    """A port that was asked for by number is in use. The message says which."""


def _bound(kind: socket.SocketKind, host: str, port: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As the servers do: a connection in TIME_WAIT does not keep a port from its next owner.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def free_tcp_port() -> int:
    """A TCP port that nobody listens on at this instant."""
    return _bound(socket.SOCK_STREAM, LOOPBACK, 0)


def free_udp_port() -> int:
    """A UDP port that nobody listens on at this instant."""
    return _bound(socket.SOCK_DGRAM, LOOPBACK, 0)


def tcp_port(wanted: int, host: str = LOOPBACK) -> int:
    """The wanted TCP port, or a free one for 0.

    Raises:
        PortTaken: somebody listens on it, or it may not be bound.
    """
    return _wanted(socket.SOCK_STREAM, wanted, host)


def udp_port(wanted: int, host: str = LOOPBACK) -> int:
    """The wanted UDP port, or a free one for 0.

    Raises:
        PortTaken: somebody listens on it, or it may not be bound.
    """
    return _wanted(socket.SOCK_DGRAM, wanted, host)


def _wanted(kind: socket.SocketKind, wanted: int, host: str) -> int:
    protocol = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
    try:
        return _bound(kind, host, wanted)
    except OSError as refused:
        raise PortTaken(f"port {protocol} {wanted} sur {host} : {refused.strerror}") from refused
