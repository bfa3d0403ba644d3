import os
import socket
import subprocess
import sys

from lab.kept_socket import kept_descriptor, kept_socket

# Keeps a socket, says its port, and waits for a line that never comes.
KEEPS = (
    "import socket, sys\n"
    "kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "kept.bind(('127.0.0.1', 0))\n"
    "print(kept.getsockname()[1], flush=True)\n"
    "sys.stdin.read()\n"
)


def test_the_socket_of_another_process_is_found_by_its_port_and_read() -> None:
    argv = [sys.executable, "-c", KEEPS]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        port = int(keeper.stdout.readline())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(b"bonjour", ("127.0.0.1", port))
        with kept_socket(keeper.pid, port) as descriptor:
            assert descriptor is not None
            with socket.socket(fileno=os.dup(descriptor)) as ours:
                read = ours.recv(20)
        others = [kept_descriptor(os.getpid(), port), kept_descriptor(keeper.pid, port - 1)]
        keeper.kill()

    assert read == b"bonjour"
    assert others == [None, None]
    with kept_socket(keeper.pid, port) as gone, kept_socket(os.getpid(), None) as without:
        assert (gone, without) == (None, None)
