"""The commands of the Triphas'O and the options of the pulse counter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.canonical import Reading
from decoders.codec import EncodedCommand, UnsupportedCommand
from decoders.watteco.codecs import PULSE, TRIPHASO, decode_pulse, encode_triphaso
from services.simulator.payloads import watteco as device

NOW = 1_795_597_200_000_000


@pytest.mark.parametrize(
    ("command", "octets", "on"), [("switch_on", "1150000601", True), ("switch_off", "1150000600", False)]
)
def test_switches_the_relay_by_an_absolute_command(command: str, octets: str, on: bool) -> None:
    encoded = encode_triphaso(command, {})

    assert encoded == EncodedCommand(125, bytes.fromhex(octets))
    assert device.parse_switch_command(encoded.payload) is on


def test_asks_for_the_state_and_understands_either_answer() -> None:
    encoded = encode_triphaso("read_state", {})

    assert encoded == EncodedCommand(125, bytes.fromhex("110000060000"))
    assert device.asks_relay_state(encoded.payload)
    for answer in (device.read_response_relay(True), device.relay_state(True)):
        assert TRIPHASO.decode(125, answer, NOW, {}).readings == [Reading(NOW, "", "switch_state", 1.0)]


def test_refuses_to_dim_in_french_with_the_reason() -> None:
    with pytest.raises(UnsupportedCommand, match="n'a pas de gradateur"):
        encode_triphaso("dim", {"level": 50})


def test_refuses_an_unknown_command() -> None:
    with pytest.raises(UnsupportedCommand, match="ne connaît pas la commande « open »"):
        encode_triphaso("open", {})


def test_refuses_a_parameter_that_the_command_does_not_take() -> None:
    with pytest.raises(UnsupportedCommand, match="ne prend pas de paramètre"):
        encode_triphaso("switch_on", {"level": 50})


@pytest.mark.parametrize("payload", ["1150000602", "11500006", "3150000601", "110000060000"])
def test_takes_only_on_and_off_for_a_switch(payload: str) -> None:
    assert device.parse_switch_command(bytes.fromhex(payload)) is None


@given(st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_counts_pulses_on_the_endpoint_s_channel(endpoint: int, index: int) -> None:
    decoded = PULSE.decode(125, device.pulse(endpoint, index), NOW, {})

    channel = str(endpoint) if endpoint else ""
    assert decoded.readings == [Reading(NOW, channel, "pulse_count", float(index))]


def test_adds_the_volume_when_the_profile_gives_the_weight_of_a_pulse() -> None:
    decoded = decode_pulse(125, device.pulse(0, 123), NOW, {"litres_per_pulse": 10})

    assert decoded.readings == [Reading(NOW, "", "pulse_count", 123.0), Reading(NOW, "", "water_volume", 1230.0)]


def test_adds_the_volume_only_on_the_channels_that_have_a_weight() -> None:
    options = {"litres_per_pulse": {"1": 2.5}}

    first = decode_pulse(125, device.pulse(0, 4), NOW, options)
    second = decode_pulse(125, device.pulse(1, 4), NOW, options)

    assert [reading.quantity for reading in first.readings] == ["pulse_count"]
    assert second.readings[1] == Reading(NOW, "1", "water_volume", 10.0)


@pytest.mark.parametrize("weight", ["ten", 0, -1])
def test_warns_of_a_weight_that_is_no_positive_number(weight: object) -> None:
    decoded = decode_pulse(125, device.pulse(0, 4), NOW, {"litres_per_pulse": weight})

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
