"""A resolver that falls silent: a process that has names to find waits for it, and goes on once it answers again.

Only the services of the case ask it: they run in a mount namespace of their own, with another resolv.conf.
"""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from core.runtime.errors import system_reason
from core.runtime.postgres import connect
from lab.chaos.case import Act, Around
from lab.chaos.faults.proxied import SETTINGS
from lab.chaos.outcome import CaseFailed, NotRun
from lab.chaos.scene import Scene
from lab.chaos.stack.proxy import LOOPBACK

# Nobody else is there, and the port is the one that resolv.conf cannot say.
RESOLVER, PORT = "127.0.0.77", 53
DOMAIN = "territoire.test"
HEADER, TYPE_A, ANSWERED, UNKNOWN = 12, 1, 0x8580, 0x8583
# The name of the question, by its place in the message; class IN; no memory of it.
POINTER, CLASS_IN_AND_TTL = b"\xc0\x0c", b"\x00\x01\x00\x00\x00\x00"
THROW_OUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name ~ $1 AND pid <> pg_backend_pid()
"""


class Resolver(asyncio.DatagramProtocol):
    """Says of every name of the domain that it is the loopback (RFC 1035, section 4), or nothing at all."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self.is_silent = False
        self.asked = 0
        self.unanswered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - The base class's.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: D102 - The base class's.
        self.asked += 1
        if self.is_silent:
            self.unanswered += 1
        elif self._transport is not None:
            self._transport.sendto(answer_to(data), addr)


def answer_to(question: bytes) -> bytes:
    """An A record where one was asked for; of another kind there is none, of another domain no name."""
    labels: list[str] = []
    at = HEADER
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii", "replace").lower())
        at += 1 + question[at]
    asked = question[HEADER : at + 5]
    known = ".".join(labels).endswith(DOMAIN)
    address = bytes(map(int, LOOPBACK.split(".")))
    is_a = known and int.from_bytes(asked[-4:-2]) == TYPE_A
    record = POINTER + TYPE_A.to_bytes(2) + CLASS_IN_AND_TTL + len(address).to_bytes(2) + address if is_a else b""
    flags = ANSWERED if known else UNKNOWN
    counts = b"\x00\x01" + int(is_a).to_bytes(2) + b"\x00\x00\x00\x00"
    return question[:2] + flags.to_bytes(2) + counts + asked + record


@asynccontextmanager
async def open_resolver() -> AsyncGenerator[Resolver]:
    """It answers while the block runs.

    Raises:
        NotRun: the port of resolvers is not ours to take.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, resolver = await loop.create_datagram_endpoint(Resolver, local_addr=(RESOLVER, PORT))
    except OSError as refused:
        raise NotRun(
            f"un résolveur ne peut pas écouter sur {RESOLVER}:{PORT} : {system_reason(refused)}"
        ) from None
    try:
        yield resolver
    finally:
        transport.close()


def with_own_resolver(file: Path) -> tuple[str, ...]:
    """What stands before a program's arguments so that it finds its resolver in this file.

    Raises:
        NotRun: a mount namespace cannot be made here.
    """
    command = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    through = ("unshare", "--mount", "sh", "-c", command, str(file))
    if shutil.which("unshare") is None or subprocess.run([*through, "true"], check=False).returncode:
        raise NotRun("un espace de montage ne peut pas être créé ici (il faut être root)")
    return through


def by_names(*services: str) -> Around:
    """These services find PostgreSQL and the bus by names, of a resolver that may be silent."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        processes = scene.processes
        async with open_resolver() as resolver:
            scene.resolver = resolver
            with tempfile.TemporaryDirectory(prefix="territoire-dns-") as folder:
                file = Path(folder) / "resolv.conf"
                await asyncio.to_thread(file.write_text, f"nameserver {RESOLVER}\n")
                through = await asyncio.to_thread(with_own_resolver, file)
                named = {
                    service: {
                        name: processes.setting(service, name).replace(f"@{LOOPBACK}", f"@{server}.{DOMAIN}")
                        for server, name in SETTINGS.items()
                    }
                    for service in services
                }
                async with processes.replaced(named, "avec des noms", through):
                    yield

    return around


def silence_resolver(*services: str) -> Act:
    """For as long as the case lasts it says nothing, and these services have just lost their connections."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        assert scene.resolver is not None
        scene.resolver.is_silent = True
        admin = await connect(scene.processes.run.database_admin_url, "chaos")
        try:
            thrown_out = await admin.fetchval(THROW_OUT, f"^({'|'.join(services)})")
            await asyncio.sleep(scene.lasting_s)
        finally:
            scene.resolver.is_silent = False
            await admin.close()
        scene.recover_from(f"DNS muet {scene.lasting_s:.0f} s")
        scene.notes.append(f"{scene.resolver.unanswered} questions sans réponse, {thrown_out} connexions coupées")
        if not scene.resolver.unanswered:
            raise CaseFailed("personne n'a demandé de nom pendant le silence")

    return act
