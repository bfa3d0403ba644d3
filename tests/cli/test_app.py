import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.in_process import territoire


@pytest.mark.starts_processes
def test_the_command_line_is_a_program_whose_status_says_how_it_ended(tmp_path: Path) -> None:
    argv = [sys.executable, "-P", "-m", "lab", "status", "--home", str(tmp_path)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert ran.returncode == 3
    assert "aucune pile" in ran.stderr


@pytest.mark.parametrize("command", ["up", "demo", "simulate", "status", "migrate", "chaos", "check", "test"])
def test_every_command_has_its_help(command: str) -> None:
    ran = territoire(command, "--help")

    assert ran.returncode == 0
    assert command in ran.stdout


def test_status_says_when_nothing_runs(tmp_path: Path) -> None:
    ran = territoire("status", "--home", str(tmp_path))

    assert ran.returncode == 3
    assert "aucune pile" in ran.stderr


def test_up_rejects_a_service_that_does_not_exist(tmp_path: Path) -> None:
    ran = territoire("up", "--home", str(tmp_path), "--services", "ingest,ingset")

    assert ran.returncode == 2
    assert "ingset" in ran.stderr


def test_up_says_which_port_is_taken(server_folder: Path, mosquitto_server) -> None:
    taken = str(mosquitto_server.port)

    ran = territoire("up", "--home", str(server_folder / "taken"), "--api-port", taken, "--udp-port", "0")

    assert ran.returncode == 1
    assert f"port TCP {taken}" in ran.stderr


def test_up_reports_all_wrong_settings_before_anything_is_started(tmp_path: Path) -> None:
    home = tmp_path / "home"

    ran = territoire(
        "up",
        "--home",
        str(home),
        TERRITOIRE_POOL_SIZE="0",
        TERRITOIRE_SMTP_URL="mail.mairie.fr",
        TERRITOIRE_SMTP_SENDERS="x@mairie.fr",
    )

    assert ran.returncode == 2
    assert "TERRITOIRE_POOL_SIZE=« 0 » ; attendu : un nombre entier de 1 à 50 (gateway_bridge, " in ran.stderr
    assert "TERRITOIRE_SMTP_URL=(masquée)" in ran.stderr
    assert "vouliez-vous dire TERRITOIRE_SMTP_SENDER ?" in ran.stderr
    assert not home.exists()


def test_migrate_names_the_setting_that_is_missing() -> None:
    ran = territoire("migrate", TERRITOIRE_DATABASE_URL="postgresql://127.0.0.1:1/x")

    assert ran.returncode == 2
    assert "TERRITOIRE_NATS_URL" in ran.stderr


@pytest.mark.parametrize("replicas", ["passerelles=2", "network", "ingest=0"])
def test_up_rejects_replicas_that_cannot_be(tmp_path: Path, replicas: str) -> None:
    ran = territoire("up", "--home", str(tmp_path), "--replicas", replicas)

    assert ran.returncode == 2
    assert replicas in ran.stderr


def test_chaos_names_its_cases_and_rejects_one_that_it_does_not_know() -> None:
    listed, refused = territoire("chaos", "--list"), territoire("chaos", "kill-nobody")

    assert listed.returncode == 0
    assert "kill-network" in listed.stdout
    assert refused.returncode == 2
    assert "kill-nobody" in refused.stderr


@pytest.mark.parametrize("option", ["--remove", "--json"])
def test_what_belongs_to_a_history_starts_no_fleet(tmp_path: Path, option: str) -> None:
    ran = territoire("simulate", "--home", str(tmp_path), option)

    assert ran.returncode == 2
    assert "--history" in ran.stderr


@pytest.mark.parametrize("command", [["simulate"], ["simulate", "--history"], ["bench", "queries"], ["migrate"]])
def test_a_command_that_needs_a_stack_says_when_nothing_runs(tmp_path: Path, command: list[str]) -> None:
    for home in (tmp_path, tmp_path / "nowhere"):
        ran = territoire(*command, "--home", str(home))

        assert ran.returncode == 3
        assert f"aucune pile ne tourne dans {home}" in ran.stderr
        assert ran.stdout == ""


def test_a_run_json_of_another_version_is_reported(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"home": 1}')

    ran = territoire("status", "--home", str(tmp_path), "--json")

    assert ran.returncode == 1
    assert str(tmp_path) in ran.stderr
    assert "Traceback" not in ran.stderr
