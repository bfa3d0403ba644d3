"""Watteco's downlinks as typed commands, on f_port 125 (docs/decoders-formats.md, "nke Watteco").

What switches is absolute, never the vendor's toggle: a repeated command then changes nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from decoders.codec import Command, EncodedCommand, Parameter, ParameterKind, Proof, UnsupportedCommand
from decoders.watteco.frame import F_PORT
from decoders.watteco.products import Product

_IN_MINUTES, _LONGEST_MINUTES = 0x8000, 0x7FFF


def _command(hexadecimal: str, tail: bytes = b"", endpoint: int = 0) -> EncodedCommand:
    """A frame from its octets on endpoint 0, sent to `endpoint`."""
    octets = bytes.fromhex(hexadecimal)
    control = octets[0] & 0x19 | (endpoint & 0x07) << 5 | (endpoint & 0x18) >> 2
    return EncodedCommand(F_PORT, bytes((control,)) + octets[1:] + tail)


class Reportable(NamedTuple):
    """A measure whose reports can be set: cluster and attribute, its type and octets, raw units in one unit."""

    label_fr: str
    attribute: bytes
    type: int
    size: int
    scale: float = 1.0


REPORTABLE: dict[str, Reportable] = {
    "temperature": Reportable("température, °C", bytes.fromhex("04020000"), 0x29, 2, 100),
    "humidity": Reportable("humidité, %", bytes.fromhex("04050000"), 0x21, 2, 100),
    "pressure": Reportable("pression, hPa", bytes.fromhex("04030000"), 0x29, 2),
    "illuminance": Reportable("éclairement, lx", bytes.fromhex("04000000"), 0x21, 2),
    "differential_pressure": Reportable("pression différentielle, Pa", bytes.fromhex("80080000"), 0x29, 2),
    "index": Reportable("index d'impulsions", bytes.fromhex("000f0402"), 0x23, 4),
    "input": Reportable("entrée logique", bytes.fromhex("000f0055"), 0x10, 1),
    "output": Reportable("relais", bytes.fromhex("00060000"), 0x10, 1),
}


def _set_reporting(values: Mapping[str, Any]) -> EncodedCommand:
    """Configure reporting: cluster, no report parameters, attribute, type, shortest, longest, change."""
    measure = REPORTABLE[values["measure"]]
    cluster, attribute = measure.attribute[:2], measure.attribute[2:]
    change, most = round(values["change"] * measure.scale), (1 << 8 * measure.size - 1) - 1
    if change > most:
        raise UnsupportedCommand(
            f"« change » va de 0 à {most / measure.scale:g} pour cette mesure ({measure.label_fr})."
        )
    if values["shortest_minutes"] > values["longest_minutes"]:
        raise UnsupportedCommand("« shortest_minutes » ne peut pas dépasser « longest_minutes ».")
    body = (
        cluster
        + b"\0"
        + attribute
        + bytes((measure.type,))
        + _duration(values["shortest_minutes"])
        + _duration(values["longest_minutes"])
        + change.to_bytes(measure.size)
    )
    return _command("1106", body)


def _duration(minutes: int) -> bytes:
    return (_IN_MINUTES | minutes).to_bytes(2)


COMMON = (
    Command("reboot", "Redémarrer", lambda _: _command("1150005000")),
    Command("factory_reset", "Revenir aux réglages d'usine", lambda _: _command("1150005007")),
    Command(
        "set_confirmed",
        "Choisir des messages confirmés ou non",
        lambda values: _command("11058004000008", bytes((values["confirmed"],))),
        (Parameter("confirmed", "messages confirmés", ParameterKind.BOOLEAN),),
    ),
    Command(
        "set_retries",
        "Régler le nombre d'essais des messages confirmés",
        lambda values: _command("11058004000120", bytes((values["retries"],))),
        (Parameter("retries", "nombre d'essais", minimum=1, maximum=15),),
    ),
    Command(
        "rejoin",
        "Se réassocier au réseau après un délai",
        lambda values: _command("1150800400", values["minutes"].to_bytes(2)),
        (Parameter("minutes", "délai", minimum=0, maximum=0xFFFF, unit="min"),),
    ),
    Command("read_battery", "Demander la tension des piles", lambda _: _command("110000500006")),
    Command("read_firmware", "Demander la version du micrologiciel", lambda _: _command("110000000002")),
    Command(
        "set_reporting",
        "Régler la fréquence des rapports",
        _set_reporting,
        (
            Parameter("measure", "mesure", ParameterKind.CHOICE, choices=tuple(REPORTABLE)),
            Parameter("shortest_minutes", "délai le plus court", minimum=0, maximum=_LONGEST_MINUTES, unit="min"),
            Parameter("longest_minutes", "délai le plus long", minimum=1, maximum=_LONGEST_MINUTES, unit="min"),
            Parameter(
                "change",
                "variation qui provoque un rapport",
                ParameterKind.NUMBER,
                minimum=0,
                maximum=1e6,
                default=0,
            ),
        ),
    ),
)
_PILOT_WIRE = Command(
    "set_pilot_wire",
    "Régler le fil pilote",
    lambda values: _command("11050013005520", bytes((values["mode"],))),
    (Parameter("mode", "numéro du mode, de la notice", minimum=0, maximum=5),),
    switches=True,
)


def _switching(relays: int) -> tuple[Command, ...]:
    """On, off and the state of each relay: cluster 0006 of its endpoint, the first by default."""

    def fixed_command(name: str, label: str, hexadecimal: str, switches: bool) -> Command:
        first = Parameter("output", "sortie", minimum=1, maximum=relays, default=1)
        return Command(
            name,
            label,
            lambda values: _command(hexadecimal, endpoint=values.get("output", 1) - 1),
            (first,) if relays > 1 else (),
            switches,
        )

    return (
        fixed_command("switch_on", "Allumer", "1150000601", True),
        fixed_command("switch_off", "Éteindre", "1150000600", True),
        fixed_command("read_state", "Demander l'état du relais", "110000060000", False),
    )


def proof_of(product: Product) -> Proof | None:
    """Relays say what they do when asked, each on the channel of its endpoint: one less than its number."""
    channels = ((output, (str(output - 1) if output > 1 else "",)) for output in range(1, product.relays + 1))
    return Proof("read_state", tuple(channels)) if product.relays else None


def commands_of(product: Product, *, pilot_wire: bool = False) -> tuple[Command, ...]:
    """Every command of a product."""
    switching = _switching(product.relays) if product.relays else ()
    return (*switching, *((_PILOT_WIRE,) if pilot_wire else ()), *COMMON)
