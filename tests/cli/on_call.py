"""Who is on call, as tests play it: a mail server, a chat, and `territoire alarm` as systemd runs it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from typer.testing import CliRunner

from cli.app import app

CHECKOUT = Path(__file__).parents[2]
# As `python -m cli`, but that the bus does not answer whatever the machine is like.
PROGRAM = """
import sys
from cli import doctor
from cli.app import app
from cli.finding_kinds import Kind
from cli.findings import critical
async def examine(*_):
    return [critical(Kind.BUS_AWAY, "ne répond pas", "démarrez-le")]
doctor.examine = examine
app(sys.argv[1:])
"""


class Letters:
    """What a mail server has taken: `subjects` with whom they are for, `texts` as they are read."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.texts: list[str] = []
        self.unknown: set[str] = set()
        self.refused = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's.
        self, _server: object, _session: object, envelope: Any, address: str, _options: object
    ) -> str:
        if address in self.unknown:
            self.refused += 1
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's.
        letter = message_from_bytes(envelope.content, policy=policy.default)
        self.subjects.append(f"{envelope.rcpt_tos[0]}: {letter['Subject']}")
        self.texts.append(letter.get_content())
        return "250 OK"

    def headlines(self, whom: str = "astreinte@mairie.fr") -> list[str]:
        """What he was told, without the machine's name."""
        mine = [one for one in self.subjects if one.startswith(f"{whom}: ")]
        return [one.partition(") : ")[2] for one in mine]


class Chat:
    """An address that takes a POST, and answers slowly, or with a body that never ends."""

    def __init__(self, slowly_s: float = 0.0, *, drips: bool = False) -> None:
        self.bodies: list[dict[str, Any]] = []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                chat.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                with contextlib.suppress(OSError):
                    time.sleep(slowly_s)
                    self.send_response(200)
                    self.end_headers()
                    while drips:
                        self.wfile.write(b".")
                        time.sleep(0.1)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - Its name.
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def alarm(home: Path, *options: str, **environment: str) -> int:
    return CliRunner().invoke(app, ["alarm", "--home", str(home), *options], env=environment).exit_code


def said(home: Path, *options: str, **environment: str) -> str:
    return CliRunner().invoke(app, ["alarm", "--home", str(home), *options], env=environment).output


def started(home: Path, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, "alarm", "--home", str(home), *options],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        cwd=CHECKOUT,
    )
