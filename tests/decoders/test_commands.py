"""Typed commands are checked before they become octets."""

from typing import Any

import pytest

from decoders.codec import Codec, Command, EncodedCommand, Parameter, ParameterKind, UnsupportedCommand
from decoders.commands import encoder

COMMANDS = (
    Command("reboot", "Redémarrer", lambda _: EncodedCommand(85, b"\xff\x10\xff")),
    Command(
        "open_valve",
        "Ouvrir la vanne",
        lambda values: EncodedCommand(85, bytes((values["valve"], values["minutes"], values["flush"]))),
        (
            Parameter("valve", "vanne", minimum=1, maximum=2),
            Parameter("minutes", "durée", minimum=1, maximum=240, unit="min"),
            Parameter("flush", "rinçage", ParameterKind.BOOLEAN, default=False),
        ),
        switches=True,
    ),
    Command(
        "set_target",
        "Régler la consigne",
        lambda values: EncodedCommand(85, f"{values['mode']}{values['degrees']}".encode()),
        (
            Parameter("degrees", "consigne", ParameterKind.NUMBER, minimum=5, maximum=30, unit="Cel"),
            Parameter("mode", "mode", ParameterKind.CHOICE, choices=("eco", "comfort"), default="eco"),
        ),
    ),
)
ENCODE = encoder("Le contrôleur", COMMANDS)


def test_gives_what_has_a_default_when_it_is_not_said() -> None:
    assert ENCODE("open_valve", {"valve": 1, "minutes": 30}) == EncodedCommand(85, bytes((1, 30, 0)))
    assert ENCODE("set_target", {"degrees": 19.5}) == EncodedCommand(85, b"eco19.5")


def test_takes_a_command_without_parameters() -> None:
    assert ENCODE("reboot", {}).payload.hex() == "ff10ff"


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("dance", {}, "Le contrôleur ne connaît pas la commande « dance »"),
        ("reboot", {"now": True}, "ne prend pas de paramètre"),
        ("open_valve", {"valve": 1, "minutes": 30, "colour": 1}, "prend seulement flush, minutes, valve"),
        ("open_valve", {"valve": 1}, r"« minutes » \(durée\) est obligatoire"),
        ("open_valve", {"valve": 3, "minutes": 30}, "va de 1 à 2, pas 3"),
        ("open_valve", {"valve": 1, "minutes": 0}, "va de 1 à 240 min, pas 0"),
        ("open_valve", {"valve": True, "minutes": 30}, "doit être un nombre entier, pas True"),
        ("open_valve", {"valve": 1, "minutes": 30.5}, "doit être un nombre entier"),
        ("open_valve", {"valve": 1, "minutes": 10**400}, "va de 1 à 240 min"),
        ("open_valve", {"valve": 1, "minutes": 30, "flush": 1}, "doit être vrai ou faux"),
        ("set_target", {"degrees": float("nan")}, "doit être un nombre"),
        ("set_target", {"degrees": "19"}, "doit être un nombre"),
        ("set_target", {"degrees": 19, "mode": []}, "doit être l'un de : eco, comfort"),
    ],
)
def test_rejects_in_french_what_the_form_does_not_have(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedCommand, match=message):
        ENCODE(name, parameters)


def _codec(*commands: Command) -> Codec:
    return Codec("test.device", 1, lambda *_: pytest.fail("not decoded"), encoder("L'objet", commands), commands)


def test_switches_only_if_a_command_acts_on_the_territory() -> None:
    assert not _codec(COMMANDS[0], COMMANDS[2]).switches
    assert _codec(*COMMANDS).switches


def test_a_codec_that_does_not_describe_its_commands_may_switch() -> None:
    assert _codec().switches
    assert not Codec("test.device", 1, lambda *_: pytest.fail("not decoded")).switches
