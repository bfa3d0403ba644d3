"""A private nats-server with JetStream on disk: the bus between our services."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.messages.permissions import OWNER, PERMISSIONS, USERS, published_by, received_by
from services.supervisor.launch import Launch, program, system_path
from services.supervisor.ports import LOOPBACK

# nats-server 2.10 that has met a full disk acknowledges what nobody can read any more (measured: it counts a
# stream from one again and has no index of it): it is stopped before.
STOP_BELOW, START_ABOVE = 64 << 20, 128 << 20
# No disk that we know is filled at a higher rate, in octets a second.
FILLED_AT_MOST = 4 << 30
# The folder of its streams, in its own.
STORE = "store"
CONFIGURATION = """\
server_name: {name}
listen: "{host}:{port}"
max_payload: 2MB
jetstream {{
    store_dir: "{store}"
    sync_interval: {sync_interval}
    max_file_store: {max_file_store}
    max_memory_store: 512MB
}}
{cluster}{users}"""
CLUSTER = 'cluster {{ name: territoire, listen: "{host}:{port}", routes: [{routes}] }}\n'
# A request is answered within a minute, or not at all.
ANSWERS = '            allow_responses: {max: 1, expires: "1m"}'


def render_users(passwords: Mapping[str, str]) -> str:
    """The server's block of users, by login: each service's with its subjects, and the owner's without a limit.

    A password is written as it is given: in quotes, or as the name of a variable.
    """
    lines = ["authorization {", "    users: [", f'        {{user: "{OWNER}", password: {passwords[OWNER]}}}']
    for service, user in USERS.items():
        if user in passwords:
            lines += [
                f'        {{user: "{user}", password: {passwords[user]}, permissions: {{',
                f"            publish: {_allow(published_by(service))}",
                f"            subscribe: {_allow(received_by(service))}",
                *([ANSWERS] if PERMISSIONS[service].answers else []),
                "        }}",
            ]
    return "\n".join([*lines, "    ]", "}", ""])


def _allow(subjects: tuple[str, ...]) -> str:
    return "\n".join(["{allow: [", *(f'                "{subject}"' for subject in subjects), "            ]}"])


@dataclass(slots=True)
class Room:
    """How long there is room on the disk of a folder, for a server that goes on only while there is some left."""

    folder: Path
    _is_short: bool = False

    def __call__(self) -> float | None:
        """Look at the disk: for how many seconds there is room, whoever writes; None: there is none.

        After it was short of room, more is asked for than before.
        """
        disk = os.statvfs(self.folder)
        left = disk.f_bavail * disk.f_frsize - (START_ABOVE if self._is_short else STOP_BELOW)
        self._is_short = left < 0
        return None if self._is_short else left / FILLED_AT_MOST


@dataclass(frozen=True, slots=True)
class PrivateNats:
    """One server in `folder`, that answers to `name`."""

    folder: Path
    port: int
    password: str
    name: str
    durable: bool = True
    max_file_store: str = "10GB"
    users: Mapping[str, str] = field(default_factory=dict[str, str])
    """The password of each service; the owner's login is there without them."""
    routes: tuple[int, ...] = ()
    """Of a cluster: the ports on which its servers speak with each other, our own first."""

    @property
    def configuration(self) -> Path:
        """The file that the server reads."""
        return self.folder / "nats-server.conf"

    def prepare(self) -> None:
        """Write the configuration; it holds the passwords, so only we may read it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.configuration.touch(mode=0o600)
        self.configuration.write_text(
            CONFIGURATION.format(
                name=self.name,
                host=LOOPBACK,
                port=self.port,
                store=self.folder / STORE,
                sync_interval="always" if self.durable else "2m",
                max_file_store=self.max_file_store,
                cluster=self._cluster(),
                users=render_users(
                    {
                        OWNER: f'"{self.password}"',
                        **{USERS[service]: f'"{password}"' for service, password in self.users.items()},
                    }
                ),
            ),
            "utf-8",
        )

    def _cluster(self) -> str:
        if not self.routes:
            return ""
        others = ", ".join(f'"nats://{LOOPBACK}:{port}"' for port in self.routes[1:])
        return CLUSTER.format(host=LOOPBACK, port=self.routes[0], routes=others)

    def launch(self) -> Launch:
        """The server in the foreground."""
        argv = (program("nats-server", "nats-server"), "-c", str(self.configuration))
        return Launch(argv, env={"PATH": system_path()})

    @property
    def url(self) -> str:
        """The address of the owner's login, which may everything: to make streams, for the command line."""
        return f"nats://{OWNER}:{self.password}@{LOOPBACK}:{self.port}"

    def url_of(self, service: str) -> str:
        """The address for this service, credentials included."""
        return f"nats://{USERS[service]}:{self.users[service]}@{LOOPBACK}:{self.port}"

    async def ready(self) -> bool:
        """Whether the server that greets on the port is ours and has JetStream.

        nats-server recovers its streams before it opens the port, so a greeting is enough.
        """
        try:
            async with asyncio.timeout(2):
                greeting = await self._greeting()
        except (OSError, TimeoutError, ValueError):
            return False
        return greeting.get("server_name") == self.name and greeting.get("jetstream") is True

    async def _greeting(self) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            verb, _, body = (await reader.readline()).partition(b" ")
            return json.loads(body) if verb == b"INFO" else {}
        finally:
            writer.close()
