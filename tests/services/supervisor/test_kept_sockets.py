"""The UDP sockets that the supervisor keeps, and systemd for it between two runs of the unit."""

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.runtime.listen_fds import Handed, handing
from gateways.udp_socket import bound_socket
from services.supervisor.home import Home
from services.supervisor.kept_sockets import KeptSockets
from services.supervisor.ports import LOOPBACK, PortTaken, free_udp_port
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions

BRIDGE, SECOND = "gateway_bridge-1", "gateway_bridge-2"


@dataclass
class Systemd:
    """What systemd would have in its store of this unit, by FDNAME (sd_notify(3))."""

    notified: socket.socket
    stored: dict[str, int] = field(default_factory=dict[str, int])

    def listen(self) -> None:
        """Take what was sent so far."""
        while True:
            try:
                text, descriptors, _, _ = socket.recv_fds(self.notified, 4096, 4)
            except BlockingIOError:
                return
            said = dict(line.split("=", 1) for line in text.decode().splitlines())
            if said.get("FDSTORE") == "1":
                [self.stored[said["FDNAME"]]] = descriptors
            elif said.get("FDSTOREREMOVE") == "1":
                os.close(self.stored.pop(said["FDNAME"]))

    def hand(self) -> tuple[Handed, ...]:
        """To the next run: duplicates, as an exec gives them."""
        self.listen()
        return tuple(Handed(name, os.dup(descriptor)) for name, descriptor in self.stored.items())


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        made = Systemd(notified)
        yield made
        for descriptor in made.stored.values():
            os.close(descriptor)


def send(text: bytes, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as station:
        station.sendto(text, (LOOPBACK, port))


def test_what_comes_between_two_runs_of_the_unit_waits_for_the_next(systemd: Systemd) -> None:
    port = free_udp_port()
    first = KeptSockets()
    first.open(LOOPBACK, {BRIDGE: port})
    send(b"avant", port)
    systemd.listen()
    first.close()
    send(b"pendant", port)

    with closing(KeptSockets.of(systemd.hand())) as second:
        claimed = second.claim(BRIDGE, LOOPBACK, port)
        second.open(LOOPBACK, {BRIDGE: port})
        read = [second.sockets[BRIDGE].recv(20) for _ in range(2)]

    assert claimed == port
    assert read == [b"avant", b"pendant"]
    assert list(systemd.stored) == [f"territoire-udp-{BRIDGE}"]


def test_a_bridge_on_any_port_has_the_one_that_it_had_and_one_that_is_gone_has_none(systemd: Systemd) -> None:
    ports = {BRIDGE: free_udp_port(), SECOND: free_udp_port()}
    first = KeptSockets()
    first.open(LOOPBACK, ports)
    systemd.listen()
    first.close()

    with closing(KeptSockets.of(systemd.hand())) as both:
        claimed = [both.claim(BRIDGE, LOOPBACK, ports[BRIDGE]), both.claim(SECOND, LOOPBACK, 0)]
    with closing(KeptSockets.of(systemd.hand())) as one:
        one.claim(BRIDGE, LOOPBACK, ports[BRIDGE])
        one.open(LOOPBACK, {BRIDGE: ports[BRIDGE]})
        systemd.listen()

    assert claimed == list(ports.values())
    assert list(systemd.stored) == [f"territoire-udp-{BRIDGE}"]
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind((LOOPBACK, ports[SECOND]))


def test_options_with_another_port_let_the_former_one_go(systemd: Systemd) -> None:
    former, wanted = free_udp_port(), free_udp_port()
    first = KeptSockets()
    first.open(LOOPBACK, {BRIDGE: former})
    systemd.listen()
    first.close()

    with closing(KeptSockets.of(systemd.hand())) as second:
        claimed = second.claim(BRIDGE, LOOPBACK, wanted)
        second.open(LOOPBACK, {BRIDGE: wanted})
        systemd.listen()
        bound = second.sockets[BRIDGE].getsockname()

    assert (claimed, bound) == (None, (LOOPBACK, wanted))
    assert os.stat(systemd.stored[f"territoire-udp-{BRIDGE}"]).st_mode  # noqa: PTH116 - A descriptor.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((LOOPBACK, former))


def test_the_socket_of_a_unit_of_the_operators_is_read_where_it_listens_and_rejected_elsewhere() -> None:
    port = free_udp_port()
    with bound_socket(socket.AF_INET, (LOOPBACK, port)) as theirs:
        handed = [(Handed("territoire.socket", os.dup(theirs.fileno())),) for _ in range(2)]
        with closing(KeptSockets.of(handed[0])) as kept:
            claimed = kept.claim(BRIDGE, LOOPBACK, port)
            kept.open(LOOPBACK, {BRIDGE: port})
        with closing(KeptSockets.of(handed[1])) as kept:
            elsewhere = kept.claim(BRIDGE, LOOPBACK, port - 1)
            with pytest.raises(PortTaken) as refused:
                kept.open(LOOPBACK, {BRIDGE: port - 1})

    assert (claimed, elsewhere) == (port, None)
    assert f"territoire.socket, que systemd remet, écoute sur {LOOPBACK}:{port}" in str(refused.value)
    assert f"demandent {LOOPBACK}:{port - 1}" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            socket.SOCK_DGRAM,
            "territoire.socket, que systemd remet, écoute sur {at}, et les options demandent {wanted}",
        ),
        (socket.SOCK_STREAM, "territoire.socket n'est pas un socket UDP (ListenDatagram=)"),
    ],
    ids=["elsewhere", "not UDP"],
)
def test_up_starts_nothing_with_a_socket_that_is_not_the_gateways(
    kind: socket.SocketKind, said: str, tmp_path: Path
) -> None:
    wanted, home = free_udp_port(), tmp_path / "home"
    with socket.socket(socket.AF_INET, kind) as theirs:
        theirs.bind((LOOPBACK, 0))
        at = f"{LOOPBACK}:{theirs.getsockname()[1]}"
        up = (sys.executable, "-P", "-m", "cli", "up", "--home", str(home), "--udp-host", LOOPBACK)
        up += ("--udp-port", str(wanted), "--station-port", "0", "--api-port", "0", "--intake-port", "0")
        done = subprocess.run(
            handing("territoire.socket", theirs.fileno(), up),
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert said.format(at=at, wanted=f"{LOOPBACK}:{wanted}") in done.stderr
    assert not (home / "postgres").exists()


def test_a_port_that_somebody_has_is_named() -> None:
    with bound_socket(socket.AF_INET, (LOOPBACK, 0)) as theirs, closing(KeptSockets()) as kept:
        port = theirs.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port UDP {port} sur {LOOPBACK} : déjà pris"):
            kept.open(LOOPBACK, {BRIDGE: port})


def test_each_bridge_of_a_stack_is_handed_its_own(tmp_path: Path, systemd: Systemd) -> None:
    options = StackOptions(udp_host=LOOPBACK, udp_port=free_udp_port(), api_port=0, replicas={"gateway_bridge": 2})
    first = KeptSockets()
    first.open(LOOPBACK, {BRIDGE: options.udp_port, SECOND: free_udp_port()})
    systemd.listen()
    ports = [one.getsockname()[1] for one in first.sockets.values()]
    first.close()
    home = Home(tmp_path / "home")
    with home.held(), closing(KeptSockets.of(systemd.hand())) as kept:
        stack = Stack(home, options, kept=kept)
        handed = [
            stack._service("gateway_bridge", *child).launch.handed for child in options.children("gateway_bridge")
        ]
        others = stack._service("network", "network", "network-1").launch.handed
        bound = [one.getsockname()[1] for one in handed if one is not None]

    assert bound == ports
    assert others is None
