import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.runtime.listen_fds import Handed, WrongListenFds, handing, listed
from services.supervisor.ports import free_udp_port

# Says what it was handed, what is left for those that it starts, and reads one datagram.
TELLS = """
import os, socket
from core.runtime.listen_fds import take_handed
[handed] = take_handed()
bound = socket.socket(fileno=handed.descriptor)
left = [name for name in os.environ if name.startswith("LISTEN_")]
print(handed.name, handed.descriptor, os.get_inheritable(handed.descriptor), left, take_handed(), flush=True)
print(bound.recv(100).decode())
"""


def test_descriptors_that_are_handed_to_this_process_follow_each_other_from_three() -> None:
    said = {"LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "udp:territoire.socket"}

    assert listed(said, 42) == (Handed("udp", 3), Handed("territoire.socket", 4))
    assert listed({"LISTEN_PID": "42", "LISTEN_FDS": "1"}, 42) == (Handed("unknown", 3),)
    assert listed({"LISTEN_PID": "42", "LISTEN_FDS": "0", "LISTEN_FDNAMES": ""}, 42) == ()


@pytest.mark.parametrize("pid", [None, "41", "", "x"])
def test_descriptors_of_another_process_are_none_of_ours(pid: str | None) -> None:
    environment = {"LISTEN_FDS": "1"} if pid is None else {"LISTEN_FDS": "1", "LISTEN_PID": pid}

    assert listed(environment, 42) == ()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"LISTEN_FDS": "-1"},
        {"LISTEN_FDS": "deux"},
        {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "udp"},
    ],
)
def test_what_cannot_be_is_rejected_in_french(said: dict[str, str]) -> None:
    with pytest.raises(WrongListenFds) as wrong:
        listed({"LISTEN_PID": "42", **said}, 42)

    assert "sockets reçus au démarrage" in wrong.value.french


async def test_a_program_that_is_executed_has_the_socket_once_and_hands_it_on_to_nobody() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        argv = handing("udp", bound.fileno(), (sys.executable, "-c", TELLS))
        process = await asyncio.create_subprocess_exec(
            *argv, pass_fds=(bound.fileno(),), stdout=asyncio.subprocess.PIPE
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"bonjour", bound.getsockname())
        said, _ = await process.communicate()

    assert said.decode().splitlines() == ["udp 3 False [] ()", "bonjour"]


def test_systemds_own_activator_is_understood(tmp_path: Path) -> None:
    """It starts the program at the first datagram, which it leaves for the program to read."""
    activate, port = shutil.which("systemd-socket-activate"), free_udp_port()
    if activate is None:
        pytest.skip("systemd n'est pas installé ici")
    program = tmp_path / "tells.py"
    program.write_text(TELLS, "utf-8")
    argv = [activate, "--datagram", f"--listen=127.0.0.1:{port}", "--fdname=territoire", sys.executable, program]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with (
        subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
    ):
        assert process.stderr is not None
        process.stderr.readline()  # "Listening on": it is bound.
        sending.sendto(b"bonjour", ("127.0.0.1", port))
        said, _ = process.communicate(timeout=60)

    assert said.decode().splitlines() == ["territoire 3 False [] ()", "bonjour"]
