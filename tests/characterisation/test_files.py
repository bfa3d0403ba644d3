"""Files that an earlier program left behind: run.json and secrets.json of a home, and what stands beside a backup.

A renamed optional field would silently be its default, so every field is compared, each at another value.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import asdict
from typer.testing import CliRunner, Result

from cli.account import COUNTED
from cli.app import app
from cli.backup import Manifest, newest_backup
from registry.rights import LOGINS
from services.supervisor.home import Home
from services.supervisor.run_info import read_run_info

RUN = b"""{
  "home": "/srv/territoire",
  "mode": "private",
  "supervisor_pid": 4242,
  "started_at": 1795597200.25,
  "api_url": "http://127.0.0.1:8001",
  "udp_host": "127.0.0.2",
  "udp_port": 1700,
  "database_url": "postgresql://territoire_service:a@127.0.0.1:5433/territoire",
  "database_admin_url": "postgresql://postgres:b@127.0.0.1:5433/territoire",
  "nats_url": "nats://token@127.0.0.1:4222",
  "mqtt_url": "mqtt://127.0.0.1:1883",
  "mqtt_bridge_url": "mqtt://bridge:d@127.0.0.1:1883",
  "kek": "000102030405060708090a0b0c0d0e0f",
  "kek_id": "kek-7",
  "api_key": "terr_0123456789ab_secret",
  "login_email": "operateur@localhost",
  "login_password": "l",
  "services": [
    {
      "name": "network-1",
      "pid": 4243,
      "restarts": 3,
      "log": "/srv/territoire/logs/network-1.log",
      "health_url": "http://127.0.0.1:9101",
      "ports": {"udp": 1700, "station": 8887}
    },
    {"name": "network-2", "pid": null, "restarts": 0, "log": "/srv/territoire/logs/network-2.log"}
  ],
  "intake_url": "http://127.0.0.1:8002",
  "station_url": "ws://127.0.0.1:8887",
  "former_keks": "kek-6=0f0e0d0c0b0a09080706050403020100"
}
"""
SECRETS = {
    "postgres": "p" * 8,
    "service": "s" * 8,
    "api": "a" * 8,
    "nats": "n" * 8,
    "mqtt": {"bridge": "b" * 8, "accounts": "c" * 8},
    "kek": bytes(range(32)).hex(),
    "operator_key": "terr_0123456789ab_secret",
    "operator_password": "o" * 8,
}
DUMP = b"not a dump"
SEALED = "39114098a15d6f92d7f013215b5b41a8982dac5934763618"  # By the key 000102030405060708090a0b0c0d0e0f.
MANIFEST = b"""{
  "schema": 38,
  "timescaledb": "2.22.1",
  "counts": {
    "tenants": 2,
    "devices": 3,
    "sessions": 5,
    "assets": 7,
    "datastreams": 11,
    "uplinks": 13,
    "receptions": 17,
    "measurements": 19,
    "rollup_hours": 23,
    "rollup_days": 29,
    "alerts": 31,
    "downlinks": 37
  },
  "sealed": {
    "kek-0": [
      "39114098a15d6f92d7f013215b5b41a8982dac5934763618"
    ]
  },
  "made_at": "2026-11-25T21:00:00.123456Z",
  "kek_ids": [
    "kek-0",
    "kek-1"
  ],
  "octets": 10,
  "sha256": "98c4bac0daefbe4bb37ab3db1b15ad2b1e8a4f2a63ef1a47f0e2dcf41c1dbd37"
}
"""


def test_run_json_of_today_is_read_in_full(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(RUN)

    run = read_run_info(tmp_path)

    assert asdict(run) | {"services": [asdict(one) for one in run.services]} == {
        "home": "/srv/territoire",
        "mode": "private",
        "supervisor_pid": 4242,
        "started_at": 1_795_597_200.25,
        "api_url": "http://127.0.0.1:8001",
        "udp_host": "127.0.0.2",
        "udp_port": 1700,
        "database_url": "postgresql://territoire_service:a@127.0.0.1:5433/territoire",
        "database_admin_url": "postgresql://postgres:b@127.0.0.1:5433/territoire",
        "nats_url": "nats://token@127.0.0.1:4222",
        "mqtt_url": "mqtt://127.0.0.1:1883",
        "mqtt_bridge_url": "mqtt://bridge:d@127.0.0.1:1883",
        "kek": "000102030405060708090a0b0c0d0e0f",
        "kek_id": "kek-7",
        "api_key": "terr_0123456789ab_secret",
        "login_email": "operateur@localhost",
        "login_password": "l",
        "services": [
            {
                "name": "network-1",
                "pid": 4243,
                "restarts": 3,
                "log": "/srv/territoire/logs/network-1.log",
                "health_url": "http://127.0.0.1:9101",
                "ports": {"udp": 1700, "station": 8887},
                "restarted_at": (),
            },
            {
                "name": "network-2",
                "pid": None,
                "restarts": 0,
                "log": "/srv/territoire/logs/network-2.log",
                "health_url": None,
                "ports": {},
                "restarted_at": (),
            },
        ],
        "intake_url": "http://127.0.0.1:8002",
        "station_url": "ws://127.0.0.1:8887",
        "former_keks": "kek-6=0f0e0d0c0b0a09080706050403020100",
        "version": 1,
        "supervisor_identity": "",
    }


def test_run_json_is_written_under_the_names_of_today(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(RUN)
    expected: Any = json.loads(RUN)
    expected["services"][0] |= {"restarted_at": []}
    expected["services"][1] |= {"health_url": None, "ports": {}, "restarted_at": []}
    expected |= {"version": 1, "supervisor_identity": ""}

    assert json.loads(msgspec.json.encode(read_run_info(tmp_path))) == expected


def test_run_json_without_what_was_added_later_is_read(tmp_path: Path) -> None:
    older = {
        name: value
        for name, value in json.loads(RUN).items()
        if name not in {"services", "intake_url", "station_url", "former_keks", "login_email", "login_password"}
    }
    (tmp_path / "run.json").write_text(json.dumps(older), "utf-8")

    run = read_run_info(tmp_path)

    assert (run.services, run.intake_url, run.station_url, run.former_keks) == ((), "", "", "")


def test_run_json_of_the_version_that_says_so_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(json.loads(RUN) | {"version": 2, "added": "later"}), "utf-8")

    assert read_run_info(tmp_path).version == 2


@pytest.mark.parametrize(("command", "ends"), [("status", 1), ("doctor", 2), ("frames", 1)])
def test_run_json_of_a_newer_program_is_said_in_french(tmp_path: Path, command: str, ends: int) -> None:
    newer = {"version": 3, "home": {"another": "form"}}
    (tmp_path / "run.json").write_text(json.dumps(newer), "utf-8")

    done = CliRunner().invoke(app, [command, "--home", str(tmp_path)])
    output = " ".join(done.output.split())  # A table breaks its lines.

    assert done.exit_code == ends
    assert "la pile est d'un programme plus récent que celui-ci" in output
    assert "run.json est en version 3, il lit la 1 et la 2" in output
    assert "lancez cette commande avec le programme de la pile" in output


@pytest.fixture
def home(server_folder: Path, request: pytest.FixtureRequest) -> Home:
    """Where PostgreSQL's account may walk: for any other its data gets a folder elsewhere, which would be left."""
    folder = server_folder / request.node.name
    folder.mkdir()
    return Home(folder)


def test_secrets_of_a_home_of_today_are_kept(home: Home) -> None:
    (home.folder / "secrets.json").write_text(json.dumps(SECRETS), "utf-8")

    with home.held():
        kept, again = home.secrets(), home.secrets()
        made = {"database": kept.database, "bus": kept.bus}
        since = {
            f"{server}-{service}".replace("_", "-") for server, services in made.items() for service in services
        }
        assert kept.since.keys() == since
        assert msgspec.to_builtins(kept) == {**SECRETS, **made, "since": msgspec.to_builtins(kept.since)}
        assert kept == again
        assert kept.database.keys() == kept.bus.keys() == LOGINS.keys()


def test_a_home_of_before_people_is_given_a_password_once(home: Home) -> None:
    older = {name: value for name, value in SECRETS.items() if name != "operator_password"}
    older |= {"mqtt": {"bridge": "b" * 8, "simulator": "m" * 8}}  # Nor an account that makes others.
    (home.folder / "secrets.json").write_text(json.dumps(older), "utf-8")

    with home.held():
        first, second = home.secrets(), home.secrets()
    assert first == second
    assert len(first.operator_password) >= 12
    assert set(first.database) == set(LOGINS)
    assert set(first.mqtt) == {"bridge", "simulator", "accounts"}
    new = {"operator_password": "", "database": {}, "bus": {}, "mqtt": older["mqtt"], "since": {}}
    assert {"mqtt-bridge", "kek", "database-owner"}.isdisjoint(first.since)
    assert "mqtt-accounts" in first.since
    assert msgspec.to_builtins(first) | new == older | new


def test_manifest_of_today_is_read_in_full_and_written_alike() -> None:
    manifest = msgspec.json.decode(MANIFEST, type=Manifest)

    assert asdict(manifest) == {
        "made_at": datetime(2026, 11, 25, 21, 0, 0, 123_456, tzinfo=UTC),
        "schema": 38,
        "timescaledb": "2.22.1",
        "kek_ids": ["kek-0", "kek-1"],
        "counts": {
            "tenants": 2,
            "devices": 3,
            "sessions": 5,
            "assets": 7,
            "datastreams": 11,
            "uplinks": 13,
            "receptions": 17,
            "measurements": 19,
            "rollup_hours": 23,
            "rollup_days": 29,
            "alerts": 31,
            "downlinks": 37,
        },
        "octets": 10,
        "sha256": "98c4bac0daefbe4bb37ab3db1b15ad2b1e8a4f2a63ef1a47f0e2dcf41c1dbd37",
        "sealed": {"kek-0": [SEALED]},
        "encrypted": False,
        "goes_on_plain": False,
        "erasures": None,
        "compressed_chunks": 0,
    }
    assert msgspec.json.format(msgspec.json.encode(manifest)) + b"\n" == MANIFEST


def test_manifest_of_before_has_the_same_in_another_order() -> None:
    first = ("made_at", "schema", "timescaledb", "kek_ids", "counts", "octets", "sha256", "sealed")
    document = json.loads(MANIFEST)
    former = json.dumps({name: document[name] for name in first}).encode()

    assert msgspec.json.decode(former, type=Manifest) == msgspec.json.decode(MANIFEST, type=Manifest)


def test_everything_that_a_backup_of_today_counted_is_counted_after_a_restore() -> None:
    assert set(json.loads(MANIFEST)["counts"]) <= set(COUNTED)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup as it lies on disk, with the secrets of the stack that it is of."""
    (tmp_path / "a.dump").write_bytes(DUMP)
    (tmp_path / "secrets.json").write_text(json.dumps(SECRETS), "utf-8")
    write_manifest(tmp_path)
    return tmp_path


def write_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads(MANIFEST) | {"sha256": hashlib.sha256(DUMP).hexdigest()} | changes
    (folder / "a.dump.json").write_text(json.dumps(manifest), "utf-8")


def restore(folder: Path) -> Result:
    arguments = ["restore", folder / "a.dump", "--home", folder / "home", "--secrets", folder / "secrets.json"]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_restore_of_a_backup_that_another_key_sealed_is_rejected(backup: Path) -> None:
    result = restore(backup)

    assert result.exit_code == 2
    assert "n'ouvre aucune clé d'équipement de cette sauvegarde (kek-0)" in result.output
    assert "ne dit pas si la clé" in result.output  # Of kek-1, of which there is no sample.


def test_restore_of_a_changed_file_is_rejected(backup: Path) -> None:
    write_manifest(backup, sha256="00" * 32)

    result = restore(backup)

    assert result.exit_code == 2
    assert "a changé depuis qu'il a été écrit" in result.output


def test_restore_of_a_newer_program_s_backup_is_rejected(backup: Path) -> None:
    write_manifest(backup, schema=9_999)

    result = restore(backup)

    assert result.exit_code == 2
    assert "schéma 9999" in result.output


def test_newest_backup_of_a_folder_is_known_by_its_manifest(backup: Path) -> None:
    assert newest_backup(backup) == datetime(2026, 11, 25, 21, 0, 0, 123_456, tzinfo=UTC)
