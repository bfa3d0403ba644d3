"""The commands of the Triphas'O and the options of the pulse counter."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.canonical import MalformedPayload, Reading
from decoders.catalogue import CODECS
from decoders.codec import EncodedCommand, UnsupportedCommand
from decoders.watteco.codecs import PULSE, TRIPHASO
from decoders.watteco.products import PRODUCTS
from lab.device.payloads import watteco as device

NOW = 1_795_597_200_000_000


def _encode(codec: str, command: str, parameters: dict[str, Any]) -> EncodedCommand:
    encode = CODECS[codec].encode
    assert encode is not None
    return encode(command, parameters)


@pytest.mark.parametrize(
    ("command", "octets", "on"), [("switch_on", "1150000601", True), ("switch_off", "1150000600", False)]
)
def test_switches_the_relay_by_an_absolute_command(command: str, octets: str, on: bool) -> None:
    encoded = _encode("watteco.triphaso", command, {})

    assert encoded == EncodedCommand(125, bytes.fromhex(octets))
    assert device.parse_switch_command(encoded.payload) is on


def test_asks_for_the_state_and_understands_either_answer() -> None:
    encoded = _encode("watteco.triphaso", "read_state", {})

    assert encoded == EncodedCommand(125, bytes.fromhex("110000060000"))
    assert device.asks_relay_state(encoded.payload)
    for answer in (device.read_response_relay(True), device.relay_state(True)):
        assert TRIPHASO.decode(125, answer, NOW, {}).readings == [Reading(NOW, "", "switch_state", 1.0)]


def test_rejects_to_dim_in_french_with_the_reason() -> None:
    with pytest.raises(UnsupportedCommand, match="n'a pas de gradateur"):
        _encode("watteco.triphaso", "dim", {"level": 50})


def test_rejects_an_unknown_command() -> None:
    with pytest.raises(UnsupportedCommand, match="ne connaît pas la commande « open »"):
        _encode("watteco.triphaso", "open", {})


def test_rejects_a_parameter_that_the_command_does_not_take() -> None:
    with pytest.raises(UnsupportedCommand, match="ne prend pas de paramètre"):
        _encode("watteco.triphaso", "switch_on", {"level": 50})


@pytest.mark.parametrize("payload", ["1150000602", "11500006", "3150000601", "110000060000"])
def test_takes_only_on_and_off_for_a_switch(payload: str) -> None:
    assert device.parse_switch_command(bytes.fromhex(payload)) is None


@given(st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_counts_pulses_on_the_endpoint_s_channel(endpoint: int, index: int) -> None:
    decoded = PULSE.decode(125, device.pulse(endpoint, index), NOW, {})

    channel = str(endpoint) if endpoint else ""
    assert decoded.readings == [Reading(NOW, channel, "pulse_count", float(index))]


def test_adds_the_volume_when_the_profile_gives_the_weight_of_a_pulse() -> None:
    decoded = PULSE.decode(125, device.pulse(0, 123), NOW, {"litres_per_pulse": 10})

    assert decoded.readings == [Reading(NOW, "", "pulse_count", 123.0), Reading(NOW, "", "water_volume", 1230.0)]


def test_adds_the_volume_only_on_the_channels_that_have_a_weight() -> None:
    options = {"litres_per_pulse": {"1": 2.5}}

    first = PULSE.decode(125, device.pulse(0, 4), NOW, options)
    second = PULSE.decode(125, device.pulse(1, 4), NOW, options)

    assert [reading.quantity for reading in first.readings] == ["pulse_count"]
    assert second.readings[1] == Reading(NOW, "1", "water_volume", 10.0)


@pytest.mark.parametrize("weight", ["ten", 0, -1])
def test_warns_of_a_weight_that_is_no_positive_number(weight: object) -> None:
    decoded = PULSE.decode(125, device.pulse(0, 4), NOW, {"litres_per_pulse": weight})

    assert [reading.quantity for reading in decoded.readings] == ["pulse_count"]
    assert decoded.warnings == [f"option litres_per_pulse illisible : {weight!r}"]


@given(
    st.integers(0, 3),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
    st.integers(-(2**31) + 1, 2**31 - 1),
    st.integers(-(2**31) + 1, 2**31 - 1),
)
def test_meters_each_phase_and_the_three_together(
    endpoint: int, import_wh: int, export_wh: int, power: int, reactive: int
) -> None:
    payload = device.metering_800a(
        endpoint,
        import_wh=import_wh,
        export_wh=export_wh,
        active_power_w=power,
        reactive_power_var=reactive,
    )

    decoded = TRIPHASO.decode(125, payload, NOW, {})

    channel = ("phase_a", "phase_b", "phase_c", "")[endpoint]
    values = {reading.quantity: reading.value for reading in decoded.readings}
    assert {reading.channel for reading in decoded.readings} == {channel}
    assert values["active_energy_import"] == import_wh
    assert values["active_energy_export"] == export_wh
    assert values["active_power"] == power
    assert values["reactive_power"] == reactive


# Watteco/Codec-API-LoRaWAN devices/*/examples.json, encodeDownlink: each is in every product's file.
@pytest.mark.parametrize("codec", [f"watteco.{name}" for name in PRODUCTS if name not in ("ticso", "triphaso")])
@pytest.mark.parametrize(
    ("command", "parameters", "octets"),
    [
        ("set_confirmed", {"confirmed": True}, "1105800400000801"),
        ("reboot", {}, "1150005000"),
        ("factory_reset", {}, "1150005007"),
        ("set_retries", {"retries": 3}, "1105800400012003"),
        ("rejoin", {"minutes": 60}, "1150800400003c"),
    ],
)
def test_says_what_the_vendor_s_encoder_says(
    codec: str, command: str, parameters: dict[str, Any], octets: str
) -> None:
    assert _encode(codec, command, parameters) == EncodedCommand(125, bytes.fromhex(octets))


# The vendor's page of the on/off cluster: 50, 0006, then 00 is off and 01 is on. Its encoder's examples
# (sendOnOffState) put a 00 before, which that page does not have, so that its "on" would begin as an "off";
# and its toggle (02) is not offered: a repeated command must change nothing.
@pytest.mark.parametrize(
    ("codec", "command", "parameters", "octets"),
    [
        *((f"watteco.{name}", "switch_off", {}, "1150000600") for name in ("ino", "smartplug", "triphaso")),
        *((f"watteco.{name}", "switch_on", {}, "1150000601") for name in ("ino", "smartplug", "triphaso")),
        ("watteco.ino", "switch_off", {"output": 2}, "3150000600"),
        ("watteco.ino", "switch_off", {"output": 3}, "5150000600"),
        ("watteco.ino", "switch_on", {"output": 4}, "7150000601"),
        ("watteco.smartpilot_wire", "set_pilot_wire", {"mode": 1}, "1105001300552001"),
        ("watteco.smartpilot_wire", "set_pilot_wire", {"mode": 0}, "1105001300552000"),
    ],
)
def test_switches_each_output_of_each_product(
    codec: str, command: str, parameters: dict[str, Any], octets: str
) -> None:
    assert _encode(codec, command, parameters).payload.hex() == octets


@pytest.mark.parametrize(
    ("codec", "command", "parameters", "reason"),
    [
        ("watteco.smartplug", "toggle", {}, "ne connaît pas la commande « toggle »"),
        # The vendor's sendHexFrame: octets as they are go through the downlink queue, not through a command.
        ("watteco.th", "send_hex_frame", {"octets": "110000000002"}, "ne connaît pas la commande"),
        ("watteco.th", "switch_on", {}, "ne connaît pas la commande « switch_on »"),
        ("watteco.ino", "switch_on", {"output": 5}, "va de 1 à 4, pas 5"),
        ("watteco.th", "rejoin", {"minutes": 70_000}, "va de 0 à 65535 min"),
    ],
)
def test_rejects_what_is_no_absolute_command_of_the_product(
    codec: str, command: str, parameters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsupportedCommand, match=reason):
        _encode(codec, command, parameters)


def test_sets_the_reports_of_a_measure_as_the_vendor_s_page_says() -> None:
    reporting = {"measure": "temperature", "shortest_minutes": 10, "longest_minutes": 60, "change": 0.5}

    encoded = _encode("watteco.th", "set_reporting", reporting)

    # 06, cluster, 00, attribute, type, shortest and longest (highest bit: minutes), change in hundredths.
    assert encoded.payload.hex() == "1106040200000029800a803c0032"
    answer = bytes.fromhex("110904020080000029800a803c0032")
    configuration = CODECS["watteco.th"].decode(125, answer, NOW, {}).data["configuration"]
    assert configuration == {"type": "29", "shortest_s": 600, "longest_s": 3_600, "change": 50}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"change": 400}, "« change » va de 0 à 327.67 pour cette mesure"),
        ({"shortest_minutes": 90}, "ne peut pas dépasser"),
        ({"measure": "colour"}, "doit être l'un de : temperature"),
    ],
)
def test_rejects_reports_that_cannot_be(changed: dict[str, Any], reason: str) -> None:
    reporting = {"measure": "temperature", "shortest_minutes": 10, "longest_minutes": 60, "change": 0.5}

    with pytest.raises(UnsupportedCommand, match=reason):
        _encode("watteco.th", "set_reporting", reporting | changed)


def test_only_what_has_a_relay_or_a_pilot_wire_takes_the_right_to_switch() -> None:
    switching = {name for name in CODECS if name.startswith("watteco.") and CODECS[name].switches}

    expected = {"watteco.ino", "watteco.smartpilot_wire", "watteco.smartplug", "watteco.triphaso"}
    assert expected == switching


BATCH = bytes.fromhex("20000000e008000000207e1c20424030040801")  # Of a Flash'O, vendor's examples.


def test_reads_a_batch_by_the_product_of_the_profile() -> None:
    by_option = CODECS["watteco.standard"].decode(125, BATCH, NOW, {"product": "flasho"})
    by_codec = CODECS["watteco.flasho"].decode(125, BATCH, NOW, {})

    assert by_option == by_codec
    assert [reading.quantity for reading in by_codec.readings] == ["pulse_count", "pulse_count", "battery_voltage"]


def test_adds_the_volume_beside_each_index_of_a_batch() -> None:
    decoded = CODECS["watteco.flasho"].decode(125, BATCH, NOW, {"litres_per_pulse": 10})

    assert [reading.quantity for reading in decoded.readings[-2:]] == ["water_volume", "water_volume"]


@pytest.mark.parametrize(
    ("codec", "options", "reason"),
    [
        ("watteco.standard", {}, "le profil doit nommer le produit"),
        ("watteco.standard", {"product": "toaster"}, "produit Watteco inconnu dans le profil : 'toaster'"),
        ("watteco.closo", {}, "n'est pas connue .Clos'O."),
        ("watteco.intenso", {}, "Huffman|tronquée|n'est pas annoncée|n'a pas la mesure"),
    ],
)
def test_rejects_a_batch_without_its_product(codec: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        CODECS[codec].decode(125, BATCH, NOW, options)


def test_rejects_a_batch_on_another_f_port() -> None:
    with pytest.raises(MalformedPayload, match="f_port 1 :"):
        CODECS["watteco.flasho"].decode(1, BATCH, NOW, {})
