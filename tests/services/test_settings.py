"""Every setting of every process, from the classes themselves: what is said of it when it is wrong."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from cli.settings_check import CLASSES as SERVICES
from core.runtime.settings import (
    SERVICE_SETTINGS,
    SETTING_NAMES,
    InvalidSettings,
    ServiceSettings,
    expectation,
    read_settings,
    unknown_settings,
)
from services.gateway_bridge.settings import Settings as BridgeSettings
from services.migrate.settings import MigrateSettings
from tests.rooms import CHECKOUT, PRODUCT

CLASSES: dict[str, type[BaseSettings]] = {**SERVICES, "migrate": MigrateSettings}
ENOUGH = {
    "TERRITOIRE_DATABASE_URL": "postgresql://territoire_service:un-secret@127.0.0.1:5432/territoire",
    "TERRITOIRE_NATS_URL": "nats://territoire:un-secret@127.0.0.1:4222",
    "TERRITOIRE_KEK": "11" * 16,
}
# Any text will do: names, addresses to listen on, passwords.
FREE = {
    "instance", "health_host", "kek_id", "public_url", "api_host", "udp_host", "station_host", "intake_host",
    "mqtt_client_id", "disk_folder", "erasure_ledger", "exports_folder", "cold_folder", "service_password",
    "api_password", "oidc_client_id", "oidc_client_secret", "oidc_audience", "operator_email", "operator_password",
    "map_attribution", "accessibility_contact",
}  # fmt: skip


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    for process, kind in CLASSES.items():
        for name, field in kind.model_fields.items():
            yield process, name, field


def is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in repr(field.annotation)


def limit(field: FieldInfo, *names: str) -> Any:
    return next((getattr(told, name) for told in field.metadata for name in names if hasattr(told, name)), None)


def wrong_values(field: FieldInfo) -> Iterator[str]:
    """What must be rejected, by what the field says of itself."""
    yield "§ faux réglage +"
    least, most = limit(field, "ge", "gt"), limit(field, "le")
    if least is not None:
        yield str(least - 1)
    if most is not None:
        yield str(most + 1)


@pytest.mark.parametrize(
    ("process", "name", "field"),
    [pytest.param(*one, id=f"{one[0]}-{one[1]}") for one in fields() if one[1] not in FREE],
)
def test_a_wrong_value_is_reported_with_its_name_and_what_is_expected(
    process: str, name: str, field: FieldInfo
) -> None:
    variable = f"TERRITOIRE_{name.upper()}"
    for value in wrong_values(field):
        with pytest.raises(InvalidSettings) as refused:
            read_settings(CLASSES[process], {**ENOUGH, variable: value})
        [told] = refused.value.wrong

        assert told.name == variable
        assert told.expected == expectation(field)
        assert (value in told.french) is not is_secret(field)
        assert "pydantic" not in told.french


@pytest.mark.parametrize("process", CLASSES)
def test_missing_settings_are_reported_all_at_once(process: str) -> None:
    required = [name for name, field in CLASSES[process].model_fields.items() if field.is_required()]

    with pytest.raises(InvalidSettings) as refused:
        read_settings(CLASSES[process], {})

    assert [told.name for told in refused.value.wrong] == [f"TERRITOIRE_{name.upper()}" for name in required]
    assert all("réglage manquant" in told.french for told in refused.value.wrong)


@pytest.mark.parametrize("process", CLASSES)
def test_the_least_settings_of_each_process_are_accepted(process: str) -> None:
    read = read_settings(CLASSES[process], ENOUGH)

    assert isinstance(read.model_dump()["database_url"], SecretStr)


def test_every_setting_of_every_process_is_known_to_all() -> None:
    assert {f"TERRITOIRE_{name.upper()}" for _, name, _ in fields()} == SERVICE_SETTINGS


def test_what_a_command_reads_is_known_to_doctor() -> None:
    """Every variable that a line of ours names, and every one that the image has."""
    named = re.compile(r'"(TERRITOIRE_[A-Z0-9_]*[A-Z0-9])"')
    files = [file for package in PRODUCT for file in (CHECKOUT / package).rglob("*.py")]
    read = {name for file in files for name in named.findall(file.read_text("utf-8"))}
    image = re.findall(r"\b(TERRITOIRE_\w+)=", (CHECKOUT / "deploy" / "Containerfile").read_text("utf-8"))

    assert {"TERRITOIRE_RESTORE_DATABASE_URL", "TERRITOIRE_PITR_S3_KEY"} <= read
    assert {*read, *image} <= SETTING_NAMES


def test_a_misspelt_setting_is_reported_with_the_one_that_was_meant() -> None:
    told = {**ENOUGH, "TERRITOIRE_RX1_DELY": "1", "TERRITOIRE_ZZZ": "", "TERRITOIRE_KEEP_UPLINKS_MONTHS": "3"}

    misspelt, strange = unknown_settings(told)

    assert (misspelt.name, misspelt.nearest) == ("TERRITOIRE_RX1_DELY", "TERRITOIRE_RX1_DELAY")
    assert "vouliez-vous dire TERRITOIRE_RX1_DELAY ?" in misspelt.french
    assert (strange.name, strange.nearest) == ("TERRITOIRE_ZZZ", None)


def test_settings_that_contradict_each_other_are_reported_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    same = "mqtt://bridge:x@127.0.0.1:1883"

    with pytest.raises(InvalidSettings) as refused:
        read_settings(
            BridgeSettings,
            {
                **ENOUGH,
                "TERRITOIRE_STATION_KEY": str(tmp_path / "ca.pem"),
                "TERRITOIRE_STATION_CLIENT_CA": str(tmp_path / "ca.pem"),
                "TERRITOIRE_MQTT_URL": same,
                "TERRITOIRE_CHIRPSTACK_URL": same,
            },
        )

    [told] = refused.value.wrong
    for name in ("STATION_CERTIFICATE", "STATION_KEY", "STATION_CLIENT_CA", "CHIRPSTACK_PREFIX", "MQTT_PREFIXES"):
        assert f"TERRITOIRE_{name}" in told.french


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://h/b?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        "postgres//u:motdepasse@h/b",
        "postgresql://u:mot/de/passe@h/b",
        "mysql://u:p@h/b",
    ],
)
def test_a_wrong_address_of_the_database_is_rejected_and_not_shown(address: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        read_settings(ServiceSettings, {**ENOUGH, "TERRITOIRE_DATABASE_URL": address})

    assert address not in refused.value.wrong[0].french
    assert "(masquée)" in refused.value.wrong[0].french


@pytest.mark.parametrize(
    "address",
    ["postgresql:///b?host=/run/postgresql", "postgresql://u:p@h1:5432,h2:5433/b", "postgres://u@[::1]/b"],
)
def test_postgresql_s_other_addresses_are_accepted(address: str) -> None:
    read = read_settings(ServiceSettings, {**ENOUGH, "TERRITOIRE_DATABASE_URL": address})

    assert read.database_url.get_secret_value() == address


def test_a_process_with_wrong_settings_reports_all_of_them_and_exits_with_2() -> None:
    told = {
        **ENOUGH,
        "TERRITOIRE_RX1_DELAY": "99",
        "TERRITOIRE_KEK": "motdepasse",
        "TERRITOIRE_ADR": "peut-être",
        "TERRITOIRE_RX2_DATARATE": "3",
    }
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "services.network"], env=told, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr == (
        "network : réglage faux : TERRITOIRE_KEK=(masquée) ; attendu : la clé de chiffrement de l'installation, "
        "32, 48 ou 64 chiffres hexadécimaux\n"
        "network : réglage faux : TERRITOIRE_RX1_DELAY=« 99 » ; attendu : un nombre entier de 1 à 15\n"
        "network : réglage faux : TERRITOIRE_ADR=« peut-être » ; attendu : true ou false\n"
        "network : TERRITOIRE_RX2_DATARATE n'est pas un réglage, personne ne le lit : vouliez-vous dire "
        "TERRITOIRE_RX2_DATA_RATE ?\n"
    )


def test_a_form_with_an_unknown_figure_stops_the_api_at_its_start(tmp_path: Path) -> None:
    ours = Path("indicators/buildings/forms/operat.toml").read_text("utf-8")
    (tmp_path / "operat.toml").write_text(ours.replace('"electricity_kwh"', '"kwh"'), "utf-8")

    with pytest.raises(InvalidSettings) as refused:
        read_settings(CLASSES["api"], {**ENOUGH, "TERRITOIRE_BUILDING_FORMS": str(tmp_path)})

    [told] = refused.value.wrong
    assert "TERRITOIRE_BUILDING_FORMS : operat.toml, colonne" in told.french
    assert "chiffre inconnu « kwh »" in told.french
