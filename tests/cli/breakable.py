"""An installation that works, for a test that breaks it and asks `doctor`."""

import os
import secrets
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest
from typer.testing import CliRunner

from cli import examination, settings_check
from cli.app import app
from cli.findings import Finding
from core.runtime.postgres import connect
from registry.keys import KeyWrap, device_owner
from services.supervisor.mosquitto import PrivateMosquitto
from services.supervisor.ports import LOOPBACK
from services.supervisor.postgres import PrivatePostgres
from services.supervisor.run_info import FILE_NAME, RunInfo
from tests.conftest import Database, run_apart
from tests.registry.test_timescale import AS_OF_BEFORE

# What the command imports when it is first asked is not what it waits for.
_LOADED = (examination, settings_check)
WITHIN_S = 10.0
SEALED = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'c' FROM t RETURNING id, tenant_id)
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 3, '\\x{wrapped}', 'kek-1' FROM p
"""


@dataclass
class Installation:
    """One that works, in the environment of a container; what breaks it changes this."""

    database: Database
    empty_url: str
    plain: PrivatePostgres
    mosquitto: PrivateMosquitto
    folder: Path
    run: RunInfo
    monkeypatch: pytest.MonkeyPatch
    environment: dict[str, str]
    arguments: list[str] = field(default_factory=list[str])
    until: ExitStack = field(default_factory=ExitStack)

    def sql(self, *statements: str, url: str | None = None) -> None:
        """As superuser."""

        async def execute() -> None:
            connection = await connect(url or self.database.admin_url)
            for statement in statements:
                await connection.execute(statement)
            await connection.close()

        run_apart(execute())

    def seal(self, kek: str) -> None:
        """A device whose key this key-encryption key wrapped."""
        owner = device_owner(bytes(range(1, 9)), "app_key")
        wrapped = KeyWrap("kek-1", bytes.fromhex(kek)).wrap(bytes(16), owner)
        self.sql(SEALED.replace("{wrapped}", wrapped.hex()))

    def set(self, **settings: str) -> None:
        """TERRITOIRE_..."""
        self.environment |= {f"TERRITOIRE_{name}": value for name, value in settings.items()}

    def database_address(self, **parts: str) -> None:
        """Another password, port, base or account than the right one."""
        url = urlsplit(self.database.admin_url)
        account = f"{parts.get('account', url.username)}:{parts.get('password', url.password)}"
        place = f"{url.hostname}:{parts.get('port', url.port)}"
        path, query = parts.get("base", url.path), parts.get("query", "")
        self.set(DATABASE_URL=urlunsplit((url.scheme, f"{account}@{place}", path, query, "")))

    def silent(self) -> int:
        """The port of a server that takes connections and says nothing."""
        listening = self.until.enter_context(socket.create_server((LOOPBACK, 0)))
        return int(listening.getsockname()[1])

    def on_a_server_of(self, version: str) -> None:
        """A database with TimescaleDB of this version, on a server that loads it where it is asked for."""
        name = f"of_{secrets.token_hex(4)}"
        self.sql(f"CREATE DATABASE {name}", url=self.plain.url("postgres"))
        self.sql("CREATE EXTENSION timescaledb", AS_OF_BEFORE.format(version=version), url=self.plain.url(name))
        self.set(DATABASE_URL=self.plain.url(name))

    def server(self, *argv: str, port: int) -> None:
        """A server that is set up wrongly, once it listens."""
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.until.callback(process.wait)
        self.until.callback(process.kill)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail(f"{argv[0]} does not start")

    def stack(self, **changes: object) -> None:
        """run.json of a stack on this machine instead of the environment."""
        self.environment.clear()
        self.folder.mkdir(exist_ok=True)
        (self.folder / FILE_NAME).write_bytes(msgspec.json.encode(replace_run(self.run, **changes)))

    def examine(self) -> tuple[int, list[Finding], str]:
        """What `territoire doctor` ends with and says, as JSON and as text."""
        arguments = ["doctor", "--home", str(self.folder), *self.arguments]
        for name in [name for name in os.environ if name.startswith("TERRITOIRE_")]:
            self.monkeypatch.delenv(name)
        began = time.monotonic()
        done = CliRunner().invoke(app, [*arguments, "--json"], env=self.environment)
        took = time.monotonic() - began
        shown = "" if took > 1 else CliRunner().invoke(app, arguments, env=self.environment).output
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert took < WITHIN_S
        assert "Traceback" not in done.output + shown
        told = msgspec.json.decode(done.stdout)
        return done.exit_code, msgspec.convert(told["findings"], list[Finding]), shown


def replace_run(run: RunInfo, **changes: object) -> RunInfo:
    return msgspec.structs.replace(run, **changes)
