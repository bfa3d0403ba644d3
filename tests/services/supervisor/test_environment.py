from pathlib import Path

import pytest

from services.supervisor.home import Home
from services.supervisor.stack import Stack, StackOptions


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
        told = {name: stack.environment(name, f"{name}-1") for name in ("gateway_bridge", "alerting", "network")}

    assert told["alerting"]["TERRITOIRE_SMTP_URL"].startswith("smtps://")
    assert told["alerting"]["TERRITOIRE_PUBLIC_URL"] == "https://territoire.example"
    assert told["gateway_bridge"]["TERRITOIRE_MQTT_URL"].startswith("mqtts://")
    assert "TERRITOIRE_MQTT_URL" not in told["network"]
    for environment in told.values():
        assert environment["TERRITOIRE_DATABASE_URL"] == stack.run.database_url
        assert environment.get("TERRITOIRE_KEK") == stack.run.kek
        assert not {"TERRITOIRE_OPTIONS", "SSH_AUTH_SOCK"} & environment.keys()
