"""The only module that imports asyncssh: a folder of an SFTP server that a tenant wrote down.

Addresses pass the guard of `http.guarded_client`. One host key is accepted, and nothing of this machine's own is
used: no agent, no key, no configuration of whoever runs the process. Loading the library takes 22 MB: whoever
imports this module does so when there is something to send.
"""

import asyncio
import logging
import posixpath
import socket
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import asyncssh
import httpcore

from core.runtime.errors import TargetFailure
from core.runtime.http.guarded_client import AllowList, ForbiddenDestination, check_destination, resolve
from core.runtime.waiting import network_reason

# 2222: what servers have that share an address with a machine of its own.
PUBLIC_PORTS = frozenset({22, 2222})
CONNECT_WITHIN_S, LOGIN_WITHIN_S = 15.0, 30.0
KEEPALIVE_S, KEEPALIVES_MISSED = 15, 3
# Of one request to the server, a megabyte's worth of them.
ANSWER_WITHIN_S = 60.0
Answered = TypeVar("Answered")
OTHER_MACHINE, NOT_LET_IN = (asyncssh.HostKeyNotVerifiable,), (asyncssh.PermissionDenied,)
# What a person has to do something about before it is tried again.
FINAL = (OTHER_MACHINE, NOT_LET_IN)
KNOWN_FAILURES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (OTHER_MACHINE, "la clé de machine du serveur n'est pas celle qui a été acceptée : rien n'a été envoyé"),
    (NOT_LET_IN, "le serveur refuse ce compte, ou son mot de passe ou sa clé"),
    ((asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded), "le disque du serveur est plein"),
    ((asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath), "le dossier n'est plus sur le serveur"),
    ((asyncssh.SFTPPermissionDenied,), "le serveur ne laisse pas écrire dans ce dossier"),
    (
        (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost),
        "la connexion au serveur s'est coupée",
    ),
    ((TimeoutError,), "le serveur ne répond plus"),
)
# What it says in full is known already, and names addresses.
logging.getLogger("asyncssh").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class SftpServer:
    """Where and as whom; of `password` and `private_key` (OpenSSH or PEM) one."""

    host: str
    port: int
    username: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)


async def read_host_key(server: SftpServer, allow: AllowList) -> str:
    """The key that the server shows, as OpenSSH writes it; nothing of ours is said to it.

    Raises:
        TargetFailure: it is not reached, or shows none.
    """
    with _failures():
        connected = await _connect(server, allow)
        with connected:
            async with asyncio.timeout(LOGIN_WITHIN_S):
                key = await asyncssh.get_server_host_key(server.host, server.port, sock=connected, config=None)
    if key is None:
        raise TargetFailure("le serveur ne montre pas de clé de machine")
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


@asynccontextmanager
async def open_folder(
    server: SftpServer, host_key: str, directory: str, allow: AllowList
) -> AsyncGenerator["SftpFolder"]:
    """A folder of the server, for as long as the connection is there.

    Raises:
        TargetFailure: it is not reached, is another machine, does not let us in, or has no such folder.
    """
    async with AsyncExitStack() as opened:
        with _failures():
            connected = await _connect(server, allow)
            opened.callback(connected.close)
            connection = await opened.enter_async_context(
                asyncssh.connect(
                    server.host,
                    server.port,
                    sock=connected,
                    config=None,
                    known_hosts=([asyncssh.import_public_key(host_key)], [], []),
                    username=server.username,
                    password=server.password,
                    client_keys=None if server.private_key is None else [_own_key(server.private_key)],
                    preferred_auth="password,keyboard-interactive" if server.private_key is None else "publickey",
                    agent_path=None,
                    connect_timeout=CONNECT_WITHIN_S,
                    login_timeout=LOGIN_WITHIN_S,
                    keepalive_interval=KEEPALIVE_S,
                    keepalive_count_max=KEEPALIVES_MISSED,
                )
            )
            client = await opened.enter_async_context(connection.start_sftp_client())
            if directory and not await _asked(client.isdir(directory)):
                raise TargetFailure(f"le dossier « {directory} » n'existe pas sur le serveur")
        yield SftpFolder(client, directory)


def _own_key(text: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as wrong:
        raise TargetFailure(f"la clé privée ne se lit pas : {wrong}", is_final=True) from None


async def _connect(server: SftpServer, allow: AllowList) -> socket.socket:
    """To one of the addresses that were checked."""
    try:
        addresses = await resolve(server.host, server.port)
    except httpcore.ConnectError:
        raise TargetFailure(f"« {server.host} » n'a pas d'adresse") from None
    try:
        check_destination(server.host, server.port, addresses, allow, PUBLIC_PORTS)
    except ForbiddenDestination as forbidden:
        raise TargetFailure(str(forbidden), is_final=True) from None
    failure: OSError | None = None
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4.
        connected = socket.socket(family, socket.SOCK_STREAM)
        connected.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await asyncio.get_running_loop().sock_connect(connected, (str(address), server.port))
        except OSError as away:  # TimeoutError is one.
            connected.close()
            failure = away
        except BaseException:
            connected.close()
            raise
        else:
            return connected
    raise TargetFailure(f"le serveur n'est pas joint : {network_reason(failure or OSError())}")


class SftpFolder:
    """Files of one folder, by their names."""

    def __init__(self, client: asyncssh.SFTPClient, directory: str) -> None:
        self._client = client
        self._directory = directory

    async def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with _failures():
            return await _asked(self._client.exists(self._path(name)))

    async def write(self, name: str, octets: AsyncIterable[bytes]) -> None:
        """A new file, or another content of it; raises TargetFailure, and leaves a part of it then."""
        path, written = self._path(name), 0
        with _failures():
            file = await _asked(self._client.open(path, "wb"))
        try:
            async for part in octets:
                with _failures():
                    await _asked(file.write(part))
                written += len(part)
            # Of OpenSSH; others answer the close when they have it.
            with suppress(asyncssh.SFTPOpUnsupported), _failures():
                await _asked(file.fsync())
        finally:
            with _failures():
                await _asked(file.close())
        with _failures():
            held = (await _asked(self._client.stat(path))).size
        if held != written:
            raise TargetFailure(f"le serveur n'a gardé que {held} octets sur {written}")

    async def place(self, name: str, final: str, *, replace: bool) -> None:
        """Give the file its final name; one that has it goes, with `replace`, and raises otherwise."""
        former, now = self._path(name), self._path(final)
        if replace:
            with suppress(asyncssh.SFTPOpUnsupported), _failures():
                await _asked(self._client.posix_rename(former, now))
                return
        with _failures():
            if replace and await _asked(self._client.exists(now)):
                await _asked(self._client.remove(now))
            await _asked(self._client.rename(former, now))

    async def remove(self, name: str) -> None:
        """The file is gone, if there was one and we may; what failed before is more worth saying."""
        with suppress(OSError, asyncssh.Error):
            await _asked(self._client.remove(self._path(name)))

    def _path(self, name: str) -> str:
        return posixpath.join(self._directory, name)


async def _asked(asking: Awaitable[Answered]) -> Answered:
    """Within the time that a server may take."""
    async with asyncio.timeout(ANSWER_WITHIN_S):
        return await asking


@contextmanager
def _failures() -> Generator[None]:
    """What the library raises, as TargetFailure; that the server does not know what was asked stays what it is."""
    try:
        yield
    except asyncssh.SFTPOpUnsupported:
        raise
    except (asyncssh.Error, OSError) as failure:
        raise _failure_of(failure) from None


def _failure_of(failure: Exception) -> TargetFailure:
    for kinds, message in KNOWN_FAILURES:
        if isinstance(failure, kinds):
            return TargetFailure(message, is_final=kinds in FINAL)
    match failure:
        case asyncssh.SFTPError():
            return TargetFailure(f"le serveur a refusé d'écrire : {failure.reason or 'sans dire pourquoi'}")
        case OSError():
            return TargetFailure(f"la connexion au serveur s'est coupée : {network_reason(failure)}")
        case _:
            return TargetFailure(f"le serveur ne parle pas comme attendu : {failure}")
