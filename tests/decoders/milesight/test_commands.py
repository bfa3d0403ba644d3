"""Commands for Milesight's products, against runs of the vendor's encoders and the vendor's pages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.catalogue import CODECS
from decoders.codec import EncodedCommand, UnsupportedCommand
from tests.each import each

NOW = 1_795_597_200_000_000
RUN = "run of the vendor's encoder"
PAGE = "vendor's page of downlink commands"
GUIDE = "user guide of the EM500-CO2, historical data enquiry"
VECTORS: list[tuple[str, str, str, dict[str, Any], str]] = [
    (RUN, "uc51x", "open_valve", {"valve": 1, "duration_s": 60}, "ff1da0003c000000000000"),
    (
        *(RUN, "uc51x", "open_valve", {"valve": 2, "duration_s": 60, "pulses": 100, "sequence": 1}),
        "ff1de1013c000064000000",
    ),
    ("vendor's encoder", "uc51x", "close_valve", {"valve": 1}, "ff1d000000000000000000"),
    (RUN, "ws502", "set_switches", {"switch_1": "on", "switch_2": "off"}, "ff2931"),
    (RUN, "ws503", "set_switches", {"switch_1": "on", "switch_2": "off", "switch_3": "on"}, "ff2975"),
    (RUN, "ws558", "set_switches", {"switch_1": "on", "switch_8": "off"}, "088101"),
    (RUN, "ws52x", "switch_on", {}, "0801ffff"),
    ("vendor's encoder", "ws52x", "switch_off", {}, "0800ffff"),
    (RUN, "uc300", "switch_on", {"output": 1}, "0701ff"),
    (RUN, "wt101", "set_target_temperature", {"degrees": 20, "tolerance": 0.5}, "ffb1140500"),
    (RUN, "em300_di", "set_report_interval", {"seconds": 1_200}, "ff03b004"),
    (PAGE, "ws502", "read_state", {}, "ff28ff"),
    (PAGE, "em400", "set_collection_interval", {"seconds": 600}, "ff025802"),
    # Below 1 m or above 3 m, and the end of it.
    (
        *(PAGE, "em400", "set_distance_alarm"),
        {"condition": "outside", "minimum_mm": 1_000, "maximum_mm": 3_000},
        "ff068ce803b80b00000000",
    ),
    (GUIDE, "em500_co2", "read_history", {"since": 0x635B7364, "until": 0x635B887C}, "fd6c64735b637c885b63"),
    (GUIDE, "em500_co2", "stop_history", {}, "fd6dff"),
    (PAGE, "wt101", "set_report_interval", {"minutes": 20}, "ff8e001400"),
    *((RUN, name.removeprefix("milesight."), "reboot", {}, "ff10ff") for name in CODECS if "milesight" in name),
]


def encode(product: str, command: str, parameters: dict[str, Any]) -> EncodedCommand:
    function = CODECS[f"milesight.{product}"].encode
    assert function is not None
    return function(command, parameters)


@each(VECTORS)
def test_says_what_the_vendor_says(
    source: str, product: str, command: str, parameters: dict[str, Any], octets: str
) -> None:
    assert source
    assert encode(product, command, parameters) == EncodedCommand(85, bytes.fromhex(octets))


@pytest.mark.parametrize(("product", "outputs"), [("ws501", 1), ("ws502", 2), ("ws503", 3), ("ws558", 8)])
def test_switches_one_output_or_all(product: str, outputs: int) -> None:
    for output in range(outputs + 1):
        told = list(range(1, outputs + 1)) if output == 0 else [output]
        on = encode(product, "switch_on", {"output": output}).payload
        off = encode(product, "switch_off", {"output": output}).payload

        mask = sum(1 << rank - 1 for rank in told)
        expected = (bytes((0x08, mask, mask)), bytes((0x08, mask, 0)))
        if product != "ws558":
            expected = (bytes((0xFF, 0x29, mask << 4 | mask)), bytes((0xFF, 0x29, mask << 4)))
        assert (on, off) == expected


@given(st.integers(1, 2), st.integers(1, 2**24 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_a_valve_s_task_holds_what_was_asked(valve: int, duration: int, pulses: int, sequence: int) -> None:
    asked = {"valve": valve, "duration_s": duration, "pulses": pulses, "sequence": sequence}

    octets = encode("uc51x", "open_valve", asked).payload

    assert octets[:2] == b"\xff\x1d"
    assert (octets[2] & 0x07, octets[2] & 0x20, octets[2] & 0x80) == (valve - 1, 0x20, 0x80)
    assert bool(octets[2] & 0x40) == (pulses > 0)
    assert (octets[3], int.from_bytes(octets[4:7], "little")) == (sequence, duration)
    assert int.from_bytes(octets[7:], "little") == pulses


@given(st.integers(60, 64_800))
def test_a_device_answers_an_interval_as_it_was_set(seconds: int) -> None:
    told = encode("em400", "set_report_interval", {"seconds": seconds}).payload

    answer = CODECS["milesight.em400"].decode(85, b"\xfe" + told[1:], NOW, {})

    assert answer.data == {"settings": {"report_interval": seconds}}


@pytest.mark.parametrize(
    ("product", "command", "parameters", "reason"),
    [
        ("em400", "switch_off", {}, "Le Milesight EM400-UDL, EM400-MUD ne connaît pas la commande « switch_off »"),
        ("em400", "set_report_interval", {"seconds": 5}, "va de 60 à 64800 s, pas 5"),
        ("em500_co2", "read_history", {"since": 1_700_000_000, "until": 1_700_000_000}, "doit précéder"),
        ("em500_co2", "read_history", {"since": 0, "until": 1}, "va de 1577836800"),
        ("em400", "set_distance_alarm", {"condition": "below", "minimum_mm": 9}, "ne peut pas dépasser"),
        ("em310", "read_history", {"since": 0, "until": 1}, "ne connaît pas la commande « read_history »"),
        ("uc51x", "open_valve", {"valve": 1}, r"« duration_s » \(durée\) est obligatoire"),
        ("uc51x", "open_valve", {"valve": 1, "duration_s": 0}, "va de 1 à 16777215 s"),
        ("uc51x", "open_valve", {"valve": 3, "duration_s": 60}, "va de 1 à 2, pas 3"),
        ("ws502", "set_switches", {"switch_3": "on"}, "prend seulement switch_1, switch_2"),
        ("ws502", "set_switches", {"switch_1": 1}, "doit être l'un de : on, off, unchanged"),
        ("ws501", "switch_on", {"output": 2}, "va de 0 à 1"),
        ("ws52x", "switch_on", {"output": 2}, "ne prend pas de paramètre"),
        ("wt101", "set_target_temperature", {"degrees": 60}, "va de 5 à 35 Cel"),
    ],
)
def test_rejects_in_french_what_the_product_does_not_do(
    product: str, command: str, parameters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsupportedCommand, match=reason):
        encode(product, command, parameters)


def test_only_what_acts_on_the_territory_takes_the_right_to_switch() -> None:
    switching = {name for name in CODECS if name.startswith("milesight.") and CODECS[name].switches}

    expected = {"uc300", "uc51x", "ws501", "ws502", "ws503", "ws52x", "ws558", "wt101"}
    assert {f"milesight.{name}" for name in expected} == switching
