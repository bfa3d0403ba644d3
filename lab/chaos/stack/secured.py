"""Servers of a stack that are told to encrypt while they run, and to read a certificate again.

Each by its own means, as its component in k8s/ does it: PostgreSQL, the bus, the MQTT broker.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from lab.certificates import Authority
from lab.chaos.outcome import CaseFailed
from lab.chaos.stack.processes import Processes
from lab.chaos.stack.proxy import LOOPBACK, TcpProxy
from lab.postgres_servers import Server
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import server_account
from services.supervisor.stack import Stack
from services.supervisor.stack_options import BUS

BROKER = "mosquitto"
AUTHORITY, NAME = "authority", "server"
# A server that was signalled reads its files a moment later.
TOLD_S, REPLACED_WITHIN_S = 1.0, 60.0


class Secured(Protocol):
    """A server of the stack that has been told to encrypt."""

    @property
    def port(self) -> int:
        """Where it encrypts."""
        ...

    async def read_again(self) -> None:
        """It reads certificate and key again."""
        ...

    async def end(self) -> None:
        """It is as it was before; a second time this does nothing."""
        ...


@dataclass(slots=True)
class SecuredBus:
    """It lets nobody in without TLS; who is connected already stays so."""

    processes: Processes
    server: PrivateNats
    plain: str

    @classmethod
    async def begin(cls, processes: Processes, stack: Stack, certificate: Path, key: Path) -> "SecuredBus":
        """By its configuration."""
        server = stack.servers.bus[BUS]
        plain = server.configuration.read_text("utf-8")
        tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
        server.configuration.write_text(f"{plain}{tls}", "utf-8")
        secured = cls(processes, server, plain)
        await secured.read_again()
        return secured

    @property
    def port(self) -> int:
        """The same for everybody."""
        return self.server.port

    async def read_again(self) -> None:
        """As k8s/components/nats-cluster tells it."""
        self.processes.signal(BUS, signal.SIGHUP)
        await asyncio.sleep(TOLD_S)

    async def end(self) -> None:
        """Without TLS again."""
        if self.server.configuration.read_text("utf-8") != self.plain:
            self.server.configuration.write_text(self.plain, "utf-8")
            await self.read_again()


@dataclass(slots=True)
class SecuredDatabase:
    """It encrypts for who asks."""

    server: Server
    port: int

    @classmethod
    async def begin(cls, _processes: Processes, stack: Stack, certificate: Path, key: Path) -> "SecuredDatabase":
        """By its settings."""
        secured = cls(Server("one", stack.servers.postgres), stack.servers.postgres.port)
        await secured.server.configure(ssl="on", ssl_cert_file=str(certificate), ssl_key_file=str(key))
        return secured

    async def read_again(self) -> None:
        """As CloudNativePG tells it."""
        await self.server.configure()
        await asyncio.sleep(TOLD_S)

    async def end(self) -> None:
        """Without TLS again."""
        await self.server.configure(ssl="off")


@dataclass(slots=True)
class SecuredBroker:
    """It listens on one port more, for which it has to be started again."""

    processes: Processes
    configuration: Path
    plain: str
    port: int

    @classmethod
    async def begin(cls, processes: Processes, stack: Stack, certificate: Path, key: Path) -> "SecuredBroker":
        """By its configuration."""
        configuration, port = stack.servers.mosquitto.folder / "mosquitto.conf", free_tcp_port()
        plain = configuration.read_text("utf-8")
        listener = f"listener {port} {LOOPBACK}\ncertfile {certificate}\nkeyfile {key}\n"
        secured = cls(processes, configuration, plain, port)
        await secured._begin_anew(f"{plain}{listener}")
        return secured

    async def read_again(self) -> None:
        """As k8s/components/mosquitto tells it."""
        self.processes.signal(BROKER, signal.SIGHUP)
        await asyncio.sleep(TOLD_S)

    async def end(self) -> None:
        """Without TLS again."""
        if self.configuration.read_text("utf-8") != self.plain:
            await self._begin_anew(self.plain)

    async def _begin_anew(self, configuration: str) -> None:
        self.configuration.write_text(configuration, "utf-8")
        former = self.processes.pids(BROKER)
        self.processes.signal(BROKER, signal.SIGTERM)
        if not await self.processes.until_replaced(BROKER, former, REPLACED_WITHIN_S):
            raise CaseFailed(f"{BROKER} n'a pas été relancé")


Begin = Callable[[Processes, Stack, Path, Path], Awaitable[Secured]]
# How each is told to encrypt, and what its address says then.
SERVERS: Mapping[str, tuple[Begin, str, str]] = {
    "nats": (SecuredBus.begin, "tls", "ca={}"),
    "postgres": (SecuredDatabase.begin, "postgresql", "sslmode=verify-full&sslrootcert={}"),
    "mqtt": (SecuredBroker.begin, "mqtts", "ca={}"),
}


@dataclass(slots=True)
class Certified:
    """A server behind a proxy, and the files that it and its clients read."""

    folder: Path
    proxy: TcpProxy
    server: Secured
    authority: Authority
    form: tuple[str, str]
    """Of addresses by TLS: what stands before them, and what says whom to believe."""

    def url_of(self, url: str) -> str:
        """The same address, by TLS through the proxy."""
        scheme, query = self.form
        _, _, rest = self.proxy.url_of(url).partition("://")
        return f"{scheme}://{rest}?{query.format(self.authority.certificate)}"

    async def sign(self, lives: timedelta = timedelta(days=1)) -> None:
        """The server shows this certificate from now on."""
        await asyncio.to_thread(sign, self.authority, lives)
        await self.server.read_again()

    async def replace_authority(self) -> None:
        """Another one, in the file of the former, and a certificate of it."""
        self.authority = await asyncio.to_thread(Authority, self.folder, AUTHORITY)
        await self.sign()


def sign(authority: Authority, lives: timedelta = timedelta(days=1)) -> tuple[Path, Path]:
    """A certificate and its key, which the account of PostgreSQL may read."""
    certificate, key = authority.sign(NAME, lives)
    account = server_account()
    key.chmod(0o600)
    if account is not None:
        os.chown(key, account.uid, account.gid)
    return certificate, key
