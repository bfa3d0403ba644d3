"""One screen of what runs: what is on it, that it is one, and what is said when nothing runs."""

import importlib
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY
from rich.console import Console
from typer.testing import CliRunner

from cli.app import app
from cli.install import write_files
from cli.installed import installed
from cli.state import HEARD, STORED, Database, Disk, Service, State, Stream
from cli.status import ago, print_state, size
from services.supervisor.home import Home
from services.supervisor.process_identity import identity_of
from services.supervisor.run_info import RunInfo

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
NAMES = (
    *("postgres", "nats", "mosquitto", "gateway_bridge", "network", "intake", "ingest"),
    *("alerting", "lighting", "maintenance", "indicators", "api"),
)
WELL = State(
    version="0.1.0",
    mode="up",
    home="/var/lib/territoire",
    url="http://127.0.0.1:8080",
    started_at=NOW - timedelta(days=40),
    services=[Service(name, True, 1, 0) for name in NAMES],
    database=Database(
        "17.6",
        "2.19.3",
        38,
        38,
        12_300_000_000,
        10_288,
        NOW - timedelta(seconds=3),
        24,
        21,
        1,
        {"critical": 1, "warning": 12},
    ),
    bus_version="2.10.27",
    streams=[Stream("FRAMES", 12, 0.001), Stream("UPLINKS", 90_000, 0.7)],
    heard_per_s=142.25,
    stored_per_s=101.0,
    disk=Disk(40_000_000_000, 500_000_000_000),
    backup_at=NOW - timedelta(hours=9),
    backups="/var/backups/territoire",
    problems={},
)


def shown(state: State, width: int) -> str:
    output = StringIO()
    print_state(Console(file=output, width=width), state, NOW)
    return output.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_status_fits_one_screen(width: int) -> None:
    lines = shown(WELL, width).splitlines()

    assert len(lines) <= 24
    assert max(map(len, lines)) <= width


def test_a_narrow_terminal_loses_nothing() -> None:
    def words(width: int) -> str:
        return re.sub(r"\s", "", shown(WELL, width))

    assert words(40) == words(200)


def test_everything_that_somebody_asks_for_is_on_it() -> None:
    screen = shown(WELL, 200)

    for words in (
        "Territoire 0.1.0 (up), en marche depuis 40 j",
        "http://127.0.0.1:8080",
        "12 prêts : postgres, nats",
        "PostgreSQL 17.6, TimescaleDB 2.19.3, schéma 38, 12 Go",
        "142,2/s entendues, 101,0/s enregistrées, la dernière il y a 3 s",
        "21 en ligne sur 24, 2 muettes, 1 jamais entendues",
        "10288",
        "1 critique, 12 avertissements",
        "NATS 2.10.27, FRAMES 12 en attente (0 %), UPLINKS 90000 en attente (70 %)",
        "40 Go libres sur 500 Go (8 %)",
        "il y a 9 h, dans /var/backups/territoire",
        "Tout est prêt.",
    ):
        assert words in screen


def test_status_shows_what_does_not_run_with_its_reason_on_one_screen() -> None:
    reason = "base de données : rien n'écoute à cette adresse"
    state = msgspec.structs.replace(
        WELL,
        services=[Service(name, name == "nats", None, 0, None if name == "nats" else reason) for name in NAMES],
        database=None,
        backup_at=None,
        problems={"database": "rien n'écoute à cette adresse", "bus": "pas de réponse (127.0.0.1:4222)"},
    )

    screen = shown(state, 80)

    assert len(screen.splitlines()) <= 24
    assert f"✗ postgres : {reason}" in screen
    assert "et 6 autres" in screen
    assert "aucune dans /var/backups/territoire" in screen
    assert "Tout n'est pas prêt. « ./territoire doctor » dit quoi faire." in screen
    assert not state.is_well


@pytest.mark.parametrize(("schema", "is_well"), [(144, False), (145, True), (146, True)])
def test_a_schema_of_before_is_not_ready_and_one_of_after_is(schema: int, *, is_well: bool) -> None:
    assert WELL.database is not None
    database = msgspec.structs.replace(WELL.database, schema=schema, schema_wanted=145)

    assert msgspec.structs.replace(WELL, database=database).is_well is is_well


def test_a_stack_that_was_killed_is_not_taken_for_one_that_runs(tmp_path: Path, run: RunInfo) -> None:
    gone = msgspec.structs.replace(run, home=str(tmp_path), supervisor_pid=2**22 + 1)
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(gone))

    status = CliRunner().invoke(app, ["status", "--home", str(tmp_path)])
    doctor = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path), "--json"])

    assert status.exit_code == 3
    assert "a été tuée" in status.output
    assert "systemctl start territoire" in msgspec.json.decode(doctor.stdout)["findings"][0]["remedy"]


@pytest.mark.starts_processes
def test_a_stack_that_was_killed_is_not_taken_for_whoever_has_its_number_now(tmp_path: Path, run: RunInfo) -> None:
    with subprocess.Popen(["sleep", "0.1"]) as supervisor:  # The kernel counts in hundredths.
        identity = identity_of(supervisor.pid)
    with subprocess.Popen(["sleep", "60"]) as somebody:
        stale = {"home": str(tmp_path), "supervisor_pid": somebody.pid, "supervisor_identity": identity}
        (tmp_path / "run.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(run, **stale)))
        Home(tmp_path).secrets()

        status, doctor, renew = (
            CliRunner().invoke(app, [*command, "--home", str(tmp_path)])
            for command in (["status"], ["doctor"], ["secrets", "renew", "bus-network"])
        )
        ours = stale | {"supervisor_identity": identity_of(somebody.pid)}
        (tmp_path / "run.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(run, **ours)))
        running = CliRunner().invoke(app, ["status", "--home", str(tmp_path)])
        # A release before wrote no identity, but when it was started.
        of_before = []
        for started_at in (time.time() - 7_200, time.time()):
            former = stale | {"supervisor_identity": "", "started_at": started_at}
            (tmp_path / "run.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(run, **former)))
            of_before.append(CliRunner().invoke(app, ["status", "--home", str(tmp_path)]).exit_code)
        somebody.kill()

    assert (status.exit_code, running.exit_code) == (3, 1)  # No bus in this one.
    assert of_before == [3, 1]
    assert "a été tuée" in status.output
    assert "a été tuée" in doctor.output
    assert "La pile est arrêtée" in renew.output


def test_a_server_that_was_installed_is_found_by_its_units(tmp_path: Path) -> None:
    places = {"HOME": "/srv/territoire", "BACKUPS": "/mnt/sauvegardes", "CHECKOUT": "/opt/territoire"}
    write_files(tmp_path, {**places, "PYTHON": "python", "USER": "territoire", "KEPT": "14"})
    (tmp_path / "etc/territoire/territoire.env").write_text(
        '# x\nTERRITOIRE_SMTP_SENDER="Mairie <a@b.fr>"\n A=1\n'
    )

    found = installed(tmp_path)

    assert found is not None
    assert (found.home, found.backups) == (Path("/srv/territoire"), Path("/mnt/sauvegardes"))
    assert found.environment == {"TERRITOIRE_SMTP_SENDER": "Mairie <a@b.fr>", "A": "1"}
    assert installed(tmp_path / "nowhere") is None


def test_doctor_looks_at_settings_before_they_are_restarted_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERRITOIRE_RX1_DELAY", "99")
    monkeypatch.setenv("TERRITOIRE_SMTP_SENDERS", "x@mairie.fr")

    done = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path), "--json"])

    told = [one["what"] for one in msgspec.json.decode(done.stdout)["findings"] if one["subject"] == "réglages"]
    assert "TERRITOIRE_RX1_DELAY=« 99 »" in told[0]
    assert "TERRITOIRE_SMTP_SENDER ?" in told[1]


def test_doctor_shows_the_last_error_of_a_stack_that_stopped(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "network.log").write_text(
        '{"event": "service_refused", "message": "il manque la migration 0038 à la base"}\n'
        "supervisor: network ended with 1, restart 1 in 0.1 s\n"
    )

    done = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path), "--json"])

    first = msgspec.json.decode(done.stdout)["findings"][0]
    assert "dernière ligne de network.log : il manque la migration 0038" in first["what"]


def test_ages_and_sizes_are_for_people() -> None:
    ages = [timedelta(seconds=-1), timedelta(seconds=119), timedelta(minutes=119), timedelta(hours=47)]

    assert [ago(age) for age in ages] == ["0 s", "119 s", "119 min", "47 h"]
    assert [size(n) for n in (0, 28_000_000, 1_200_000_000, 40_000_000_000, 2_100_000_000_000)] == [
        "0 Mo",
        "28 Mo",
        "1,2 Go",
        "40 Go",
        "2,1 To",
    ]


def test_the_rates_are_of_metrics_that_the_services_have() -> None:
    for module in ("ingest.telemetry", "gateways.telemetry"):
        importlib.import_module(module)
    counters = {f"{family.name}_total" for family in REGISTRY.collect() if family.type == "counter"}

    assert {HEARD, STORED} <= counters
