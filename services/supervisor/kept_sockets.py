"""The UDP sockets of the gateway bridges: each outlives every bridge that reads it.

What comes while no bridge reads waits in the kernel for the next one. Under systemd they outlive this process as
well: it keeps them for the time between two runs of the unit (FileDescriptorStoreMax=, sd_pid_notify_with_fds(3)),
and closes them when the unit is stopped.
"""

import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from core.runtime.errors import system_reason
from core.runtime.listen_fds import Handed, take_handed
from gateways.udp_socket import (
    RECEIVE_BUFFER,
    address_of,
    bound_socket,
    grow_receive_buffer,
    is_bound_to,
    udp_socket_of,
)
from services.supervisor.notify import notify
from services.supervisor.ports import PortTaken

# By which systemd's store has ours, with the instance of the bridge that reads it.
OURS = "territoire-udp-"


@dataclass(slots=True)
class KeptSockets:
    """By the instance of the bridge."""

    sockets: dict[str, socket.socket] = field(default_factory=dict[str, socket.socket])
    _handed: dict[str, socket.socket] = field(default_factory=dict[str, socket.socket])
    """By name, those that are nobody's yet."""

    @classmethod
    def of(cls, handed: tuple[Handed, ...]) -> Self:
        """With what systemd has handed to this process.

        Raises:
            WrongSocket: one is not UDP.
        """
        return cls(_handed={one.name: udp_socket_of(one) for one in handed})

    @classmethod
    def taken(cls) -> Self:
        """The same, from the environment; once.

        Raises:
            WrongListenFds, WrongSocket: what is said there cannot be used.
        """
        return cls.of(take_handed())

    def claim(self, instance: str, host: str, port: int) -> int | None:
        """The port of the socket that was handed for this bridge, where it is wanted; None: there is none such.

        Port 0 is any. One that systemd has kept for us and that is wanted elsewhere by now is closed. One of
        another unit, the operator's, is for the bridge that listens there.
        """
        for name, handed in list(self._handed.items()):
            is_its_own = name == OURS + instance
            if not is_its_own and name.startswith(OURS):
                continue
            if is_bound_to(handed, host, port):
                self.sockets[instance] = self._handed.pop(name)
                return int(handed.getsockname()[1])
            if is_its_own:
                self._forget(name)
        return None

    def open(self, host: str, ports: Mapping[str, int]) -> None:
        """Have one for each of these instances, on its port; systemd keeps it from then on.

        Raises:
            PortTaken: somebody listens there, or it may not be bound; or systemd hands one that nobody listens to.
        """
        for name in [one for one in self._handed if one.startswith(OURS)]:
            self._forget(name)  # Of a bridge that there is no more.
        for name, handed in self._handed.items():
            wanted = " ou ".join(f"{host}:{port}" for port in ports.values()) or "aucun port UDP"
            raise PortTaken(
                f"le socket {name}, que systemd remet, écoute sur {address_of(handed)}, et les options demandent "
                f"{wanted} : donnez-lui la même adresse (ListenDatagram=), ou retirez cette unité"
            )
        for instance, port in ports.items():
            if instance not in self.sockets:
                self.sockets[instance] = bound = _bound(host, port)
                notify(f"FDSTORE=1\nFDNAME={OURS}{instance}\nFDPOLL=0", [bound.fileno()])

    def _forget(self, name: str) -> None:
        handed = self._handed.pop(name)
        sys.stderr.write(f"{name} : plus demandé sur {address_of(handed)}, fermé\n")
        handed.close()
        notify(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def close(self) -> None:
        """Close ours; what systemd has is systemd's."""
        for one in [*self.sockets.values(), *self._handed.values()]:
            one.close()
        self.sockets.clear()
        self._handed.clear()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[
            0
        ]
        bound = bound_socket(family, address)
    except OSError as refused:
        raise PortTaken(f"port UDP {port} sur {host} : {system_reason(refused)}") from refused
    with suppress(OSError):
        grow_receive_buffer(bound, RECEIVE_BUFFER)
    return bound
