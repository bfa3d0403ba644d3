from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cli.settings_check import CLASSES as SETTINGS
from registry.rights import LOGINS
from services.supervisor.home import Home
from services.supervisor.stack import Stack
from services.supervisor.stack_options import SERVICES, StackOptions


def test_a_service_gets_the_operators_environment_and_nothing_of_the_supervisors(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "TERRITOIRE_SMTP_URL": "smtps://mairie:secret@mail.example:465",
        "TERRITOIRE_PUBLIC_URL": "https://territoire.example",
        "TERRITOIRE_MQTT_URL": "mqtts://bridge:secret@mqtt.example:8883",
        "TERRITOIRE_DATABASE_URL": "postgresql://elsewhere/",
        "TERRITOIRE_KEK": "00" * 32,
        "TERRITOIRE_OPTIONS": "--udp-port 1700",
        "SSH_AUTH_SOCK": "/run/agent",
    }.items():
        monkeypatch.setenv(name, value)
    home = Home(server_folder / "told")
    with home.held():
        stack = Stack(home, StackOptions(udp_port=0, api_port=0))
        told = {name: stack.environment(name, f"{name}-1") for name in SERVICES}

    assert told["alerting"]["TERRITOIRE_SMTP_URL"].startswith("smtps://")
    assert told["alerting"]["TERRITOIRE_PUBLIC_URL"] == "https://territoire.example"
    assert told["gateway_bridge"]["TERRITOIRE_MQTT_URL"].startswith("mqtts://")
    # Of the operator's own broker nobody knows that its accounts prove who speaks, nor how they are made.
    assert told["gateway_bridge"]["TERRITOIRE_MQTT_ACCOUNTS"] == "shared"
    assert "TERRITOIRE_MQTT_ACCOUNTS_URL" not in told["intake"]
    assert "TERRITOIRE_MQTT_URL" not in told["network"]
    for name, environment in told.items():
        assert urlsplit(environment["TERRITOIRE_DATABASE_URL"]).username == LOGINS[name]
        assert not {"TERRITOIRE_OPTIONS", "TERRITOIRE_LOGINS", "SSH_AUTH_SOCK"} & environment.keys()


def test_the_key_encryption_key_reaches_the_services_that_wrap_or_open_keys_and_no_others(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERRITOIRE_KEK", "00" * 32)
    home = Home(server_folder / "keys")
    with home.held():
        stack = Stack(home, StackOptions(udp_port=0, api_port=0))
        handed = {name: stack.environment(name, f"{name}-1").get("TERRITOIRE_KEK") for name in SERVICES}

    monkeypatch.delenv("TERRITOIRE_MQTT_URL", raising=False)
    ours = {name: stack.environment(name, f"{name}-1") for name in SERVICES}
    assert ours["gateway_bridge"]["TERRITOIRE_MQTT_ACCOUNTS"] == "per_gateway"
    makers = {name for name, environment in ours.items() if "TERRITOIRE_MQTT_ACCOUNTS_URL" in environment}
    assert makers == {"intake"}
    assert "simulator" not in stack.servers.mosquitto.accounts
    wanted = {name for name, kind in SETTINGS.items() if "kek" in kind.model_fields}
    assert handed == {name: stack.run.kek if name in wanted else None for name in SERVICES}
