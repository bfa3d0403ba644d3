"""A private nats-server with JetStream on disk: the bus between our services."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.supervisor.launch import Launch, program, system_path
from services.supervisor.ports import LOOPBACK

USER = "territoire"
# nats-server 2.10 that has met a full disk acknowledges what nobody can read any more (measured: it counts a
# stream from one again and has no index of it): it is stopped before.
STOP_BELOW, START_ABOVE = 64 << 20, 128 << 20
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
authorization {{
    user: "{user}"
    password: "{password}"
}}
"""


@dataclass(slots=True)
class Room:
    """Whether there is room on the disk of a folder, for a server that goes on only while there is some left."""

    folder: Path
    _is_short: bool = False

    def __call__(self) -> bool:
        """Look at the disk; after it was short of room, more is asked for than before."""
        disk = os.statvfs(self.folder)
        self._is_short = disk.f_bavail * disk.f_frsize < (START_ABOVE if self._is_short else STOP_BELOW)
        return not self._is_short


@dataclass(frozen=True, slots=True)
class PrivateNats:
    """One server in `folder`, that answers to `name`."""

    folder: Path
    port: int
    password: str
    name: str
    durable: bool = True
    max_file_store: str = "10GB"

    @property
    def configuration(self) -> Path:
        """The file that the server reads."""
        return self.folder / "nats-server.conf"

    def prepare(self) -> None:
        """Write the configuration; it holds the password, so only we may read it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.configuration.touch(mode=0o600)
        self.configuration.write_text(
            CONFIGURATION.format(
                name=self.name,
                host=LOOPBACK,
                port=self.port,
                store=self.folder / "store",
                sync_interval="always" if self.durable else "2m",
                max_file_store=self.max_file_store,
                user=USER,
                password=self.password,
            ),
            "utf-8",
        )

    def launch(self) -> Launch:
        """The server in the foreground."""
        argv = (program("nats-server", "nats-server"), "-c", str(self.configuration))
        return Launch(argv, env={"PATH": system_path()})

    @property
    def url(self) -> str:
        """The address for our services, credentials included."""
        return f"nats://{USER}:{self.password}@{LOOPBACK}:{self.port}"

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
