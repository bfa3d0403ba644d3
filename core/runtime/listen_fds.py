"""A socket that outlives the process that reads it: handed over by the convention of sd_listen_fds(3).

Whoever holds sockets, systemd or our own supervisor, starts a process with them at descriptors 3, 4 and so on:
LISTEN_FDS is their number, LISTEN_FDNAMES their names, and LISTEN_PID says whom they are meant for, since an
environment is inherited and descriptors may not be.

`python -P -m core.runtime.listen_fds DESCRIPTOR NAME PROGRAM...` becomes the program, and hands it one descriptor.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from core.runtime.errors import OperatorError

FIRST = 3
UNNAMED = "unknown"
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class WrongListenFds(OperatorError):
    """What the environment says of descriptors cannot be."""

    def __init__(self, what: str) -> None:
        remedy = "corrigez l'unité ou le programme qui nous démarre, ou retirez ces variables"
        super().__init__(f"sockets handed over: {what}", f"sockets reçus au démarrage : {what} ; {remedy}")


@dataclass(frozen=True, slots=True)
class Handed:
    """A descriptor, and the name that its holder gave it."""

    name: str
    descriptor: int


def listed(environment: Mapping[str, str], pid: int) -> tuple[Handed, ...]:
    """The descriptors that this environment hands to the process of this id; none is the usual case.

    Raises:
        WrongListenFds: their number is none, or is not that of their names.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return ()
    said = environment.get("LISTEN_FDS", "")
    if not said.isdecimal():
        raise WrongListenFds(f"LISTEN_FDS={said}")
    count = int(said)
    names = [UNNAMED] * count
    if "LISTEN_FDNAMES" in environment:
        names = environment["LISTEN_FDNAMES"].split(":") if count else []
    if len(names) != count:
        raise WrongListenFds(f"LISTEN_FDS={said}, LISTEN_FDNAMES={environment['LISTEN_FDNAMES']}")
    return tuple(Handed(name, descriptor) for descriptor, name in enumerate(names, FIRST))


def take_handed() -> tuple[Handed, ...]:
    """Those of this process, which no process that it starts inherits; once.

    Raises:
        WrongListenFds: see `listed`.
    """
    handed = listed(os.environ, os.getpid())
    for name in VARIABLES:
        os.environ.pop(name, None)
    for one in handed:
        try:
            os.set_inheritable(one.descriptor, False)
        except OSError:
            raise WrongListenFds(f"{one.descriptor} ({one.name})") from None
    return handed


def hand_to_this_process(name: str, descriptor: int) -> None:
    """Put the descriptor where this process, or the program that it becomes, takes it from."""
    if descriptor == FIRST:
        os.set_inheritable(FIRST, True)
    else:
        os.dup2(descriptor, FIRST)
        os.close(descriptor)
    os.environ.update({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name})


def handing(name: str, descriptor: int, argv: tuple[str, ...], python: str = sys.executable) -> tuple[str, ...]:
    """The command line that starts this program with a descriptor that its process inherits.

    Which process it is, and so LISTEN_PID, is known once it runs.
    """
    return (python, "-P", "-m", __name__, str(descriptor), name, *argv)


def main(arguments: list[str]) -> None:
    """Become the program."""
    hand_to_this_process(arguments[1], int(arguments[0]))
    os.execvp(arguments[2], arguments[2:])  # noqa: S606 - What we were started for.


if __name__ == "__main__":
    main(sys.argv[1:])
