"""Finds the installation that `status` and `doctor` examine."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic_settings import BaseSettings, SettingsConfigDict

from cli.finding_kinds import Kind
from cli.findings import Finding, critical
from cli.installed import installed
from cli.report import is_running, last_line
from cli.running import COMMAND, fail, log_nothing, usual_homes
from core.runtime.keks import Keks, read_keks
from core.runtime.settings import (
    A_BUS,
    A_DATABASE,
    BusAddress,
    DatabaseAddress,
    InvalidSettings,
    OptionalBroker,
    WrongSetting,
    read_settings,
)
from services.supervisor.home import Home
from services.supervisor.run_info import RunInfo, UnreadableRunInfo, read_run_info

DATABASE_URL = "TERRITOIRE_DATABASE_URL"
START = (
    "démarrez-la : sudo systemctl start territoire sur un serveur installé (pourquoi elle s'est arrêtée : "
    "journalctl -u territoire -n 50), sinon ./territoire up"
)
RESTORE_AGAIN = (
    "recommencez-la par la même commande (./territoire restore … --home), qui efface ce qu'elle y a laissé"
)


@dataclass(frozen=True, slots=True)
class Place:
    """An installation, as far as it is known. None: not known, and so not examined."""

    folder: Path | None = None
    run: RunInfo | None = None
    database_url: str | None = None
    nats_url: str | None = None
    mqtt_url: str | None = None
    kek: str | None = None
    kek_id: str = "kek-1"
    former_keks: str | None = None
    kek_file: str | None = None
    kek_command: str | None = None
    shards: str | None = None

    def keks(self) -> Keks | None:
        """The key-encryption keys of the services; None: they are not known here.

        Raises:
            ValueError: what is given is no key; in French.
        """
        if self.kek is None and self.kek_file is None and self.kek_command is None:
            return None
        file = None if self.kek_file is None else Path(self.kek_file)
        return read_keks(self.kek_id, kek=self.kek, former=self.former_keks, file=file, command=self.kek_command)

    @classmethod
    def of_run(cls, run: RunInfo) -> "Place":
        """A stack of this machine."""
        return cls(
            Path(run.home),
            run,
            run.database_url,
            run.nats_url,
            run.mqtt_bridge_url,
            run.kek,
            run.kek_id,
            run.former_keks or None,
        )

    @classmethod
    def of_environment(cls, environment: Mapping[str, str], wrong: Collection[WrongSetting]) -> "Place":
        """The servers' addresses as a service reads them from its environment, but for the wrong ones."""
        unusable = {one.name for one in wrong}
        database, bus, broker = (
            None if name in unusable else environment.get(name)
            for name in (DATABASE_URL, "TERRITOIRE_NATS_URL", "TERRITOIRE_MQTT_URL")
        )
        # In a container of an operator's a volume, on the disk where the databases' are.
        home = Path(environment.get("TERRITOIRE_HOME") or "/nonexistent")
        return cls(
            home if home.is_dir() else None,
            database_url=database,
            nats_url=bus,
            mqtt_url=broker,
            kek=environment.get("TERRITOIRE_KEK"),
            kek_id=environment.get("TERRITOIRE_KEK_ID", "kek-1"),
            former_keks=environment.get("TERRITOIRE_KEK_FORMER"),
            kek_file=environment.get("TERRITOIRE_KEK_FILE"),
            kek_command=environment.get("TERRITOIRE_KEK_COMMAND"),
        )


class Addresses(BaseSettings):
    """What is looked at where there is no stack on this machine."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    database_url: Annotated[DatabaseAddress | None, A_DATABASE] = None
    nats_url: Annotated[BusAddress | None, A_BUS] = None
    mqtt_url: OptionalBroker = None


def demand_addresses(*names: str) -> None:
    """End the command where one of these variables is missing or no address."""
    for one in _wrong_addresses(os.environ):
        if one.name in names:
            raise fail(one.french, 2)
    for name in names:
        if name not in os.environ:
            raise fail(f"{name} manque", 2)


def demand_database(option: str, address: str) -> str:
    """The address that this option was given; end the command where it is none of a database."""
    wrong = _wrong_addresses({DATABASE_URL: address})
    if any(one.name == DATABASE_URL for one in wrong):  # What else is wrong is none of this command's.
        raise fail(f"{option} : attendu {A_DATABASE.french}", 2)
    return address


def _wrong_addresses(environment: Mapping[str, str]) -> tuple[WrongSetting, ...]:
    """Those that nobody can connect to, however well the servers are."""
    try:
        read_settings(Addresses, environment)
    except InvalidSettings as refused:
        return refused.wrong
    return ()


@dataclass(frozen=True, slots=True)
class Found:
    """A place; where there is nothing to look at, why, and else which of its addresses are none."""

    place: Place
    missing: Finding | None = None
    wrong: tuple[WrongSetting, ...] = ()

    @property
    def is_stopped(self) -> bool:
        """Whether no stack runs there. A file that is not read says nothing of that."""
        return self.missing is not None and self.missing.kind == Kind.STACK_STOPPED


def find_place(home: Path | None) -> Found:
    """The stack of this machine, or else what a service here is set to."""
    places = [home] if home else usual_homes()
    for folder in places:
        try:
            run = read_run_info(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            what = f"{folder} n'est lisible que par le compte de la pile et par root"
            return Found(
                Place(folder), critical(Kind.STACK_UNREADABLE, what, f"relancez avec sudo : sudo {COMMAND}")
            )
        except UnreadableRunInfo as wrong:
            return Found(Place(folder), critical(Kind.STACK_UNREADABLE, f"{folder} : {wrong.what}", wrong.remedy))
        if is_running(run):
            return Found(Place.of_run(run))
        what = f"la pile de {folder} a été tuée, ou la machine a redémarré : rien ne tourne"
        return Found(Place(folder), critical(Kind.STACK_STOPPED, what, START))
    wrong = _wrong_addresses(os.environ)
    if wrong or DATABASE_URL in os.environ:
        return Found(Place.of_environment(os.environ, wrong), wrong=wrong)
    return _stopped(places[0])


def _stopped(folder: Path) -> Found:
    if Home(folder).is_incomplete:
        what = f"{folder} est d'une restauration interrompue : rien ne démarre dessus"
        return Found(Place(folder), critical(Kind.STACK_INCOMPLETE, what, RESTORE_AGAIN))
    logs = sorted((folder / "logs").glob("*.log"), key=lambda log: log.stat().st_mtime)
    said = f" ; dernière ligne de {logs[-1].name} : {last_line(logs[-1])}" if logs else ""
    what = f"aucune pile ne tourne dans {folder}{said}"
    return Found(Place(folder), critical(Kind.STACK_STOPPED, what, START))


@dataclass(frozen=True, slots=True)
class Installation(Found):
    """What its services are set to as well, and where its backups are."""

    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    backups: Path | None = None
    is_server: bool = False
    """Whether `install` made it, with its timers."""


def find_installation(home: Path | None, backups: Path | None) -> Installation:
    """What is to be examined; what the libraries log of their attempts is left out, the findings say it."""
    log_nothing()
    found = find_place(home)
    server = installed()
    environment: Mapping[str, str] = os.environ
    is_server = server is not None and found.place.folder == server.home
    if server is not None and is_server:
        environment, backups = {**server.environment, **os.environ}, backups or server.backups
    place = replace(found.place, shards=environment.get("TERRITOIRE_SHARDS"))
    return Installation(place, found.missing, found.wrong, environment, backups, is_server)
