"""Adeunis' downlinks, on f_port 1 (technical reference manuals, section "Downlink frame format")."""

from collections.abc import Mapping
from typing import Any

from decoders.adeunis.frame import F_PORT
from decoders.codec import Command, EncodedCommand, Parameter, UnsupportedCommand

_WORD = 0xFFFF
_SET_REGISTERS, _FIRST_REGISTER = 0x41, 300  # A register is written as its number above 300.
_SAMPLING_UNIT_S = 2


def _frame(code: int, body: bytes = b"") -> EncodedCommand:
    return EncodedCommand(F_PORT, bytes((code,)) + body)


def _registers(**values: int) -> EncodedCommand:
    """Registers of two octets: S301=12 and so on."""
    body = b"".join(
        bytes((int(name.removeprefix("S")) - _FIRST_REGISTER,)) + value.to_bytes(2)
        for name, value in values.items()
    )
    return _frame(_SET_REGISTERS, body)


def _set_recording(values: Mapping[str, Any]) -> EncodedCommand:
    if values["sampling_s"] % _SAMPLING_UNIT_S:
        raise UnsupportedCommand("« sampling_s » est un nombre pair de secondes.")
    return _registers(
        S301=values["records_per_frame"],
        S320=values["samples_per_record"],
        S321=values["sampling_s"] // _SAMPLING_UNIT_S,
    )


READ = (
    Command("read_configuration", "Demander la configuration du produit", lambda _: _frame(0x01)),
    Command("read_network_configuration", "Demander la configuration du réseau", lambda _: _frame(0x02)),
)
ADD_PULSES = Command(
    "add_pulses",
    "Ajouter des impulsions aux index",
    lambda values: _frame(0x03, values["a"].to_bytes(4) + values["b"].to_bytes(4)),
    (
        Parameter("a", "impulsions à ajouter, voie A", minimum=0, maximum=2**32 - 1, default=0),
        Parameter("b", "impulsions à ajouter, voie B", minimum=0, maximum=2**32 - 1, default=0),
    ),
)
SET_RECORDING = Command(
    "set_recording",
    "Régler l'échantillonnage et l'envoi",
    _set_recording,
    (
        Parameter("sampling_s", "période de mesure", minimum=2, maximum=2 * _WORD, unit="s"),
        Parameter("samples_per_record", "mesures par relevé", minimum=1, maximum=_WORD, default=1),
        Parameter("records_per_frame", "relevés par envoi", minimum=1, maximum=_WORD, default=1),
    ),
)
