"""Starts one child process: its own session and account, and death with its parent."""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from core.runtime.listen_fds import handing

PR_SET_PDEATHSIG = 1
# The name by which a process knows the socket that it is handed.
HANDED_AS = "udp"
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_libc = ctypes.CDLL(None, use_errno=True)


class ServerMissing(Exception):
    """A program that the stack needs is not installed. The message names its Debian package."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a child runs as."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "Account":
        """The account of this name; KeyError where the machine has none."""
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line with everything that its process is given, and nothing that it is not."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path = Path("/tmp")  # noqa: S108  (a folder that every account may enter; nothing is written there)
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    handed: socket.socket | None = None
    """It is ours, and outlives each process that is started with it."""

    @property
    def command(self) -> tuple[str, ...]:
        """What is executed."""
        return self.argv if self.handed is None else handing(HANDED_AS, self.handed.fileno(), self.argv)

    def arguments(self, log: int | IO[Any] | None) -> dict[str, Any]:
        """Keyword arguments for subprocess.Popen and asyncio.create_subprocess_exec alike.

        Standard output and error go to `log`; None leaves the child ours.
        """
        arguments: dict[str, Any] = {
            "env": dict(self.env),
            "cwd": self.cwd,
            "stdin": subprocess.DEVNULL,
            "stdout": log,
            "stderr": None if log is None else subprocess.STDOUT,
            # A Ctrl-C at the terminal reaches the supervisor alone, so that it decides the order.
            "start_new_session": True,
            "preexec_fn": die_with_parent(self.stop_signal),
        }
        if self.account is not None:
            arguments |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        if self.handed is not None:
            arguments["pass_fds"] = (self.handed.fileno(),)
        return arguments


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """What the child runs before exec: the kernel sends it `death_signal` when this process dies."""
    return partial(die_with, os.getpid(), death_signal)


def die_with(parent: int, death_signal: signal.Signals) -> None:
    """From now on the kernel sends this process `death_signal` when its parent dies; its parent is this one."""
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:  # It died between fork and prctl, and PR_SET_PDEATHSIG sends nothing for that.
        os._exit(1)


def system_path() -> str:
    """PATH with the system's folders, which cron, sudo and `env -i` leave out."""
    return os.pathsep.join(filter(None, (os.environ.get("PATH"), SYSTEM_FOLDERS)))


def program(name: str, package: str) -> str:
    """The path of an installed server.

    Raises:
        ServerMissing: it is not on PATH nor in the system's folders.
    """
    found = shutil.which(name, path=system_path())
    if found is None:
        raise ServerMissing(f"{name} est introuvable : installez le paquet {package}")
    return found
