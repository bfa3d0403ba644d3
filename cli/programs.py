"""PostgreSQL's pg_dump and pg_restore: of this machine, or of another container, whose version is the database's.

Our image has no PostgreSQL. deploy/programs.sh, which has both containers, leaves pipes in a folder that
TERRITOIRE_POSTGRES_PROGRAMS names: a line that says what to run, its three streams, and how it ended.
"""

import os
import shlex
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

from services.supervisor.postgres import binaries

ELSEWHERE = "TERRITOIRE_POSTGRES_PROGRAMS"


def program(name: str) -> tuple[str, ...]:
    """What begins a command line of this program.

    Raises:
        ServerMissing: it is not installed here, and nobody runs it elsewhere.
    """
    folder = os.environ.get(ELSEWHERE)
    if folder is None:
        return (str(binaries() / name),)
    return (sys.executable, "-P", "-m", "cli.programs", folder, name)


def main() -> int:
    """Have it run elsewhere with our streams; returns its status."""
    folder = Path(sys.argv[1])
    (folder / "asked").write_text(shlex.join(sys.argv[2:]) + "\n", "utf-8")
    # A program that ends before it has read everything ends us too: the thread is not waited for.
    threading.Thread(target=_feed, args=(folder / "in",), daemon=True).start()
    with (folder / "out").open("rb") as said, os.fdopen(sys.stdout.fileno(), "wb") as output:
        shutil.copyfileobj(said, output)
    status = int((folder / "status").read_text("ascii"))
    sys.stderr.write((folder / "errors").read_text("utf-8", "replace"))
    return status


def _feed(file: Path) -> None:
    with suppress(BrokenPipeError), file.open("wb") as target, os.fdopen(sys.stdin.fileno(), "rb") as source:
        shutil.copyfileobj(source, target)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # The thread may read for ever.
