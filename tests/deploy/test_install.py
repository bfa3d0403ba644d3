import configparser
import re
import sys
from pathlib import Path

from typer.testing import CliRunner

from services.cli.app import app
from services.cli.backup import former

CHECKOUT = Path(__file__).resolve().parents[2]
ISOLATING = ("NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "SystemCallFilter")


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

    service = units["territoire.service"]["Service"]
    assert service["User"] == "mairie"
    assert service["WorkingDirectory"] == str(CHECKOUT)
    assert service["ExecStart"].startswith(f"{sys.executable} -P -m services.cli up --home /srv/territoire ")
    assert service["ReadWritePaths"] == "/srv/territoire"
    for unit in ("territoire.service", "territoire-backup.service"):
        assert set(ISOLATING) <= set(units[unit]["Service"])
        assert units[unit]["Service"]["CapabilityBoundingSet"] == ""
    assert "--keep 14 /var/backups/territoire" in units["territoire-backup.service"]["Service"]["ExecStart"]
    assert units["territoire-backup.timer"]["Timer"]["Persistent"] == "yes"


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
