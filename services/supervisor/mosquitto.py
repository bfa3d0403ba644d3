"""A private mosquitto: the broker at the edge, for gateways that speak MQTT."""

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.supervisor.launch import Launch, ServerMissing, program, system_path
from services.supervisor.ports import LOOPBACK

BRIDGE = "bridge"
ACCOUNTS = "accounts"
"""Makes and withdraws the accounts of gateways and partners while the broker runs, and may do nothing else."""
SIMULATOR = "simulator"
"""Of tests and benchmarks: speaks for any gateway. A stack has no such account."""
PLUGIN = "mosquitto_dynamic_security.so"
# autosave_on_changes with autosave_interval 1 writes the store at every change: with the defaults a
# kill -9 forgets every queued message. max_queued_messages 0 is no limit: the default of 1000 drops in
# silence what a bridge that is away has not read; the octets are bounded instead.
CONFIGURATION = """\
listener {port} {host}
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_queued_bytes 268435456
max_inflight_messages 100
max_packet_size 1048576
persistent_client_expiration 7d
plugin {plugin}
plugin_opt_config_file {folder}/dynamic-security.json
{user_line}
"""
# Of accounts in the password file; those that the API makes have roles in the plugin, which is asked first. In the
# file a gateway's user name is its gateway_id: it publishes as itself and reads its own commands. Topics carry the
# region as a prefix (eu868/gateway/...), or none, as those of a ChirpStack Gateway Bridge with default templates.
ACL = f"""\
pattern write +/gateway/%u/event/+
pattern write +/gateway/%u/state/+
pattern read +/gateway/%u/command/+
pattern write gateway/%u/event/+
pattern write gateway/%u/state/+
pattern read gateway/%u/command/+

user {BRIDGE}
topic read +/gateway/+/event/+
topic read +/gateway/+/state/+
topic write +/gateway/+/command/+
topic read gateway/+/event/+
topic read gateway/+/state/+
topic write gateway/+/command/+

user {ACCOUNTS}
topic readwrite $CONTROL/dynamic-security/#

user {SIMULATOR}
topic write +/gateway/+/event/+
topic write +/gateway/+/state/+
topic read +/gateway/+/command/+
topic write gateway/+/event/+
topic write gateway/+/state/+
topic read gateway/+/command/+
"""
HASH_ITERATIONS = 101  # mosquitto_passwd's own; the passwords are random, 192 bits long.


def plugin() -> Path:
    """The broker's plugin for accounts that are made while it runs, of the same Debian package.

    Raises:
        ServerMissing: the package is not whole.
    """
    found = [*Path("/usr/lib").glob(f"*/{PLUGIN}"), *Path("/usr").glob(f"lib*/{PLUGIN}")]
    if not found:
        raise ServerMissing(f"{PLUGIN} est introuvable sous /usr/lib : réinstallez le paquet mosquitto")
    return found[0]


def password_line(user: str, password: str) -> str:
    """One line of a mosquitto 2 password file: PBKDF2 with SHA-512."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASH_ITERATIONS)
    return f"{user}:$7${HASH_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


@dataclass(frozen=True, slots=True)
class PrivateMosquitto:
    """One broker in `folder`; `accounts` maps user names to passwords and has BRIDGE among them."""

    folder: Path
    port: int
    accounts: Mapping[str, str]

    def prepare(self) -> None:
        """Write configuration, passwords and access rules, for our eyes only."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # As root it would become `mosquitto`, who cannot read a private folder.
        user_line = "user root" if os.geteuid() == 0 else ""
        self._write(
            "mosquitto.conf",
            CONFIGURATION.format(
                port=self.port, host=LOOPBACK, folder=self.folder, user_line=user_line, plugin=plugin()
            ),
        )
        self._write("passwords", "".join(password_line(*account) for account in self.accounts.items()))
        self._write("acl", ACL if SIMULATOR in self.accounts else ACL.partition(f"user {SIMULATOR}")[0])

    def _write(self, name: str, content: str) -> None:
        file = self.folder / name
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(content, "utf-8")

    def launch(self) -> Launch:
        """The broker in the foreground."""
        argv = (program("mosquitto", "mosquitto"), "-c", str(self.folder / "mosquitto.conf"))
        return Launch(argv, env={"PATH": system_path()})

    def url(self, user: str = BRIDGE) -> str:
        """The address for one of the accounts, credentials included."""
        return f"mqtt://{user}:{self.accounts[user]}@{LOOPBACK}:{self.port}"

    @property
    def address(self) -> str:
        """The address without an account."""
        return f"mqtt://{LOOPBACK}:{self.port}"

    async def ready(self) -> bool:
        """Whether the broker on the port takes our bridge's password: nobody else's would."""
        try:
            async with asyncio.timeout(2):
                return await self._connected()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False

    async def _connected(self) -> bool:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(_connect_packet("territoire-supervisor", BRIDGE, self.accounts[BRIDGE]))
            connack = await reader.readexactly(4)
            writer.write(b"\xe0\x00")  # DISCONNECT
            return connack == b"\x20\x02\x00\x00"
        finally:
            writer.close()


def _connect_packet(client_id: str, user: str, password: str) -> bytes:
    """CONNECT of MQTT 3.1.1 (section 3.1), clean session, keep-alive 10 s; shorter than 128 octets."""
    fields = b"".join(struct.pack("!H", len(text)) + text.encode() for text in (client_id, user, password))
    body = b"\x00\x04MQTT\x04\xc2" + struct.pack("!H", 10) + fields
    return bytes((0x10, len(body))) + body
