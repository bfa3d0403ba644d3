import configparser
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.backup import former
from cli.install import PACKAGES, is_hidden, verify
from cli.installed import UNITS
from cli.installed import installed as units_of
from cli.machine import UDP_BUFFER
from services.gateway_bridge.settings import Settings
from tests.k8s.test_rules import known_settings

CHECKOUT = Path(__file__).resolve().parents[2]
# systemd.exec(5): each cuts a service off from something that ours do not need.
ISOLATING = {
    "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "", "ProtectSystem": "strict",
    "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes", "ProtectKernelLogs": "yes", "ProtectControlGroups": "yes",
    "ProtectClock": "yes", "ProtectHostname": "yes", "ProtectProc": "invisible", "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes", "LockPersonality": "yes", "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM", "UMask": "0077", "LimitCORE": "0",
}  # fmt: skip
# adjtimex(2) says whether the clock is right; ProtectClock refuses to ask.
ASKS_THE_CLOCK = ("territoire-alarm.service", "territoire-failed@.service", "territoire-succeeded@.service")
# What else the units say, by section; a directive that systemd does not know is passed over in silence.
KNOWN = {
    "Unit": {
        *("Description", "Documentation", "After", "Wants", "Requisite", "StartLimitIntervalSec"),
        *("OnFailure", "OnSuccess"),
    },
    "Service": {
        *ISOLATING, "Type", "TimeoutStartSec", "TimeoutStopSec", "User", "Group", "Environment",
        "EnvironmentFile", "Restart",
        "WorkingDirectory", "ExecStart", "RestartSec", "KillMode", "LimitNOFILE", "OOMScoreAdjust", "Nice",
        "IOSchedulingClass", "ReadWritePaths", "RestrictAddressFamilies", "RestrictNamespaces", "SystemCallFilter",
        "MemoryDenyWriteExecute", "IPAddressDeny", "IPAddressAllow", "WatchdogSec", "ExecStopPost",
        "RuntimeDirectory", "RuntimeDirectoryPreserve", "FileDescriptorStoreMax",
    },
    "Timer": {"OnCalendar", "RandomizedDelaySec", "Persistent", "OnBootSec", "OnUnitInactiveSec", "AccuracySec"},
    "Install": {"WantedBy"},
}  # fmt: skip


def installed(root: Path, *options: str) -> dict[str, configparser.ConfigParser]:
    done = CliRunner().invoke(app, ["install", "--root", str(root), *options])
    assert done.exit_code == 0, done.output
    units: dict[str, configparser.ConfigParser] = {}
    for file in (root / "etc/systemd/system").iterdir():
        text = file.read_text("utf-8")
        assert not re.search("@[A-Z]+@", text), file
        units[file.name] = configparser.ConfigParser(interpolation=None, strict=False)
        units[file.name].optionxform = str  # type: ignore[method-assign, assignment]
        units[file.name].read_string(text)
    return units


def test_the_units_start_this_checkout_as_an_account_that_may_write_its_data_only(tmp_path: Path) -> None:
    units = installed(tmp_path, "--user", "mairie", "--home", "/srv/territoire")

    assert units.keys() == set(UNITS)
    service = units["territoire.service"]["Service"]
    assert service["User"] == service["Group"] == "mairie"
    assert service["WorkingDirectory"] == str(CHECKOUT)
    assert service["ExecStart"].startswith(f"{sys.executable} -P -m cli up --home /srv/territoire ")
    assert service["ReadWritePaths"] == (
        "/srv/territoire -/var/backups/territoire/effacements.jsonl -/var/backups/territoire/pitr"
    )
    backup = units["territoire-backup.service"]["Service"]
    assert "--keep 14 /var/backups/territoire" in backup["ExecStart"]
    assert backup["ReadWritePaths"] == "/var/backups/territoire"
    assert int(service["FileDescriptorStoreMax"]) >= 8  # A UDP socket for each bridge, and nobody has so many.
    assert units["territoire-backup.timer"]["Timer"]["Persistent"] == "yes"


def test_the_units_are_cut_off_from_all_they_do_not_need_and_say_nothing_unknown(tmp_path: Path) -> None:
    for name, unit in installed(tmp_path).items():
        for section in unit.sections():
            assert set(unit[section]) <= KNOWN[section], name
        if name.endswith(".service"):
            isolating = ISOLATING.keys() - ({"ProtectClock"} if name in ASKS_THE_CLOCK else set())
            assert {one: unit["Service"].get(one) for one in isolating} == {
                one: ISOLATING[one] for one in isolating
            }


def test_who_is_on_call_is_told_of_what_systemd_alone_knows(tmp_path: Path) -> None:
    units = installed(tmp_path, "--home", "/srv/territoire")
    service = units["territoire.service"]["Service"]

    assert service["ExecStopPost"] == f"-{sys.executable} -P -m cli alarm --home /srv/territoire --stopped"
    for name in ("backup", "pitr", "drill"):
        unit = units[f"territoire-{name}.service"]["Unit"]
        assert unit["OnFailure"] == "territoire-failed@%n.service"
        assert unit["OnSuccess"] == "territoire-succeeded@%n.service"
    failed = units["territoire-failed@.service"]["Service"]
    assert failed["ExecStart"].endswith("cli alarm --home /srv/territoire --failed %i")
    succeeded = units["territoire-succeeded@.service"]["Service"]
    assert succeeded["ExecStart"].endswith("cli alarm --home /srv/territoire --succeeded %i")
    # What a full disk does not take is remembered where each of the four finds it.
    remembering = [service, failed, succeeded, units["territoire-alarm.service"]["Service"]]
    assert [one["RuntimeDirectory"] for one in remembering] == ["territoire-alarm"] * 4
    assert [one["RuntimeDirectoryPreserve"] for one in remembering] == ["yes"] * 4
    assert units["territoire-alarm.timer"]["Timer"]["OnUnitInactiveSec"] == "2min"
    assert int(service["WatchdogSec"]) == 120


def test_a_unit_that_systemd_rejects_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where systemd is not installed nothing is verified; a stand-in prints what systemd-analyze would print."""
    unit = tmp_path / "territoire.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/true\nProtectSytem=strict\n", "utf-8")
    analyze = tmp_path / "systemd-analyze"
    analyze.write_text("#!/bin/sh\necho 'territoire.service:3: Unknown key ProtectSytem'\n", "utf-8")
    analyze.chmod(0o755)
    assert "Unknown key" in verify([unit]) or shutil.which("systemd-analyze") is None
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert "Unknown key" in verify([unit])


@pytest.mark.parametrize("option", ["--home", "--backups", "--user"])
@pytest.mark.parametrize("name", ["mon dossier", "50%", "a$HOME", 'a"b', "a\\b", "@USER@", ""])
def test_a_name_that_systemd_would_read_otherwise_is_refused_and_the_units_of_before_stay(
    tmp_path: Path, option: str, name: str
) -> None:
    installed(tmp_path)
    service = tmp_path / "etc/systemd/system/territoire.service"
    before = service.read_bytes()
    word = f"/srv/{name}" if name else "/srv/a\nb"

    done = CliRunner().invoke(app, ["install", "--root", str(tmp_path), option, word])

    assert done.exit_code == 2
    assert "rien n'est écrit ; systemd et logrotate n'y lisent que des lettres" in " ".join(done.output.split())
    assert service.read_bytes() == before


def test_a_folder_with_accents_and_one_that_is_named_from_here_are_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    units = installed(tmp_path, "--home", "données/été", "--backups", "./été/../sauvegardes")

    home, backups = tmp_path / "données/été", tmp_path / "sauvegardes"
    assert f"--home {home} " in units["territoire.service"]["Service"]["ExecStart"]
    assert units["territoire-alarm.service"]["Service"]["ReadWritePaths"] == str(home)
    assert units["territoire-backup.service"]["Service"]["ReadWritePaths"] == str(backups)
    found = units_of(tmp_path)
    assert found is not None
    assert (found.home, found.backups) == (home, backups)


def test_units_that_systemd_does_not_take_replace_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path)
    service = tmp_path / "etc/systemd/system/territoire.service"
    before = service.read_bytes()
    analyze = tmp_path / "systemd-analyze"
    analyze.write_text("#!/bin/sh\necho 'territoire.service:3: Unknown key ProtectSytem'\n", "utf-8")
    analyze.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    done = CliRunner().invoke(app, ["install", "--root", str(tmp_path), "--home", "/srv/autre"])

    assert done.exit_code == 1
    assert "rien n'est écrit : systemd refuse ces unités" in done.output
    assert service.read_bytes() == before


def test_the_environment_starts_and_names_settings_that_exist(tmp_path: Path) -> None:
    installed(tmp_path)
    file = tmp_path / "etc/territoire/territoire.env"
    named = re.findall(r"^#? ?(TERRITOIRE_\w+)=", file.read_text("utf-8"), re.MULTILINE)
    [options] = re.findall(r"^TERRITOIRE_OPTIONS=(.*)$", file.read_text("utf-8"), re.MULTILINE)

    of_commands = {
        *("TERRITOIRE_OPTIONS", "TERRITOIRE_BACKUP_RECIPIENTS", "TERRITOIRE_BACKUP_PLAIN"),
        *("TERRITOIRE_ALARM_MAIL", "TERRITOIRE_ALARM_URL"),
    }
    assert set(named) - of_commands <= known_settings()
    help_text = CliRunner().invoke(app, ["up", "--help"], env={"COLUMNS": "200"}).output
    assert all(word in help_text for word in options.split() if word.startswith("--"))
    assert file.stat().st_mode & 0o077 == 0


def test_the_kernel_is_asked_for_as_much_as_the_bridge_asks_the_kernel(tmp_path: Path) -> None:
    installed(tmp_path)
    [said] = re.findall(
        r"^net.core.rmem_max = (\d+)$", (tmp_path / "etc/sysctl.d/territoire.conf").read_text(), re.MULTILINE
    )

    assert int(said) == UDP_BUFFER == Settings.model_fields["udp_receive_buffer"].default


def test_what_the_service_could_not_see_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("/root/.pyenv/versions/3.11.7/bin/python3")
    assert is_hidden(tmp_path / "python")
    assert is_hidden(Path("/home/alice/territoire"))
    assert is_hidden(Path("/root/territoire"))
    assert not is_hidden(Path("/opt/territoire"))
    assert not is_hidden(Path("/homes/territoire"))


def test_install_compiles_every_package_of_the_wheel() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))

    assert set(PACKAGES) == set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) - {"bench"}


def test_what_the_operator_wrote_stays_when_the_units_are_renewed(tmp_path: Path) -> None:
    installed(tmp_path)
    environment = tmp_path / "etc/territoire/territoire.env"
    environment.write_text("TERRITOIRE_OPTIONS=--udp-port 1701\n", "utf-8")

    installed(tmp_path, "--home", "/srv/autre")

    assert environment.read_text("utf-8") == "TERRITOIRE_OPTIONS=--udp-port 1701\n"


def test_the_last_backups_are_kept(tmp_path: Path) -> None:
    names = [f"territoire-2026-11-{day:02d}T021500.dump" for day in range(1, 6)]
    for name in (*names, "territoire-avant-migration.dump"):
        (tmp_path / name).touch()

    assert [file.name for file in former(tmp_path, 2)] == names[:3]
