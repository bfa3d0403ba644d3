"""Syslog messages (RFC 5424) over UDP (RFC 5426), TCP (RFC 6587, octets counted) and TLS (RFC 5425).

Not the standard library's SysLogHandler: it writes the header of RFC 3164, frames by a NUL, knows no TLS and
swallows what fails; here a sender must know what has arrived.
"""

import contextlib
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from core.runtime.tls import client_tls

Transport = Literal["udp", "tcp", "tls"]
SCHEMES: dict[str, Transport] = {"syslog+udp": "udp", "syslog+tcp": "tcp", "syslog+tls": "tls"}
USUAL_PORTS: dict[Transport, int] = {"udp": 514, "tcp": 601, "tls": 6514}
ANSWERS_WITHIN_S = 10.0
# Section 6.2.1: "log audit"; informational, and warning for what was rejected.
FACILITY, INFORMATIONAL, WARNING = 13, 6, 4
LONGEST_NAME, LONGEST_MSGID = 48, 32
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class SyslogServer:
    """Where messages go."""

    transport: Transport
    host: str
    port: int
    ca: str | None = None

    @classmethod
    def parse(cls, address: str) -> "SyslogServer":
        """`syslog+tls://host:port?ca=/path`; raises ValueError for anything else."""
        parts = urlsplit(address)
        transport = SCHEMES.get(parts.scheme)
        if transport is None or not parts.hostname:
            raise ValueError("not the address of a syslog server")
        ca = parse_qs(parts.query).get("ca", [None])[-1]
        return cls(transport, parts.hostname, parts.port or USUAL_PORTS[transport], ca)

    def send(self, messages: Sequence[bytes]) -> None:
        """Send all of them, and wait until the receiver has read them, where its protocol lets one know (not UDP).

        It blocks: for a thread. Raises OSError: some may have arrived.
        """
        if self.transport == "udp":
            self._send_datagrams(messages)
            return
        framed = b"".join(b"%d %b" % (len(message), message) for message in messages)
        with socket.create_connection((self.host, self.port), ANSWERS_WITHIN_S) as plain:
            if self.transport == "tcp":
                plain.sendall(framed)
                plain.shutdown(socket.SHUT_WR)
                _read_to_end(plain)
                return
            context = client_tls(self.ca)
            with context.wrap_socket(plain, server_hostname=self.host) as secured:
                secured.sendall(framed)
                with contextlib.suppress(TimeoutError, ssl.SSLError):  # Some end without their own close_notify.
                    secured.unwrap()

    def _send_datagrams(self, messages: Sequence[bytes]) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as sending:
            sending.settimeout(ANSWERS_WITHIN_S)
            sending.connect(address)
            for message in messages:
                sending.send(message)  # ECONNREFUSED, when the port of an earlier one was closed.


def _read_to_end(connection: socket.socket) -> None:
    """Until the receiver ends, too: it has read what came before. A reset is an OSError."""
    with contextlib.suppress(TimeoutError):  # It keeps the connection: its system has acknowledged, it reads on.
        while connection.recv(4096):
            pass


def syslog_message(at: datetime, name: str, message_id: str, text: str, *, is_warning: bool = False) -> bytes:
    """One message of the facility "log audit" (section 6), in UTF-8."""
    priority = FACILITY * 8 + (WARNING if is_warning else INFORMATIONAL)
    header = (
        f"<{priority}>1 {at.isoformat()} {_word(socket.gethostname(), 255)} {_word(name, LONGEST_NAME)} "
        f"{os.getpid()} {_word(message_id, LONGEST_MSGID)} {NOTHING} "
    )
    return header.encode() + text.encode()


def _word(text: str, longest: int) -> str:
    kept = "".join(character for character in text if "!" <= character <= "~")
    return kept[:longest] or NOTHING
