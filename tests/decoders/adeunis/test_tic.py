"""Adeunis TIC frames read back, and what is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.adeunis.frame import EPOCH_2013_US
from decoders.adeunis.tic import CODEC
from decoders.canonical import MalformedPayload, Reading
from lab.device.payloads import adeunis as device

NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
ADCO = "021728031819"
WORDS = st.integers(0, 0x7FFFFFFF) | st.none()
TARIFFS = st.sampled_from(["BASE", "HC..", "EJP.", "BBR("])
PERIODS = st.sampled_from(["TH..", "HC..", "HP..", "HCJB", "HPJR"])


@given(
    st.fixed_dictionaries(dict.fromkeys(("base", "hchc", "hchp", "isousc", "iinst", "imax", "papp"), WORDS)),
    st.fixed_dictionaries({"optarif": TARIFFS, "ptec": PERIODS}),
    st.integers(0, 7),
    st.booleans(),
)
def test_reads_back_a_single_phase_frame(
    integers: dict[str, int | None], texts: dict[str, str], counter: int, low_battery: bool
) -> None:
    payload = device.tic_mono(ADCO, counter=counter, low_battery=low_battery, **texts, **integers)

    decoded = CODEC.decode(1, payload, NOW, {"phases": 1})

    expected = {name.upper(): value for name, value in (texts | integers).items()}
    assert {"ADCO": ADCO, **expected} == decoded.data["tic"]
    assert decoded.data["device_status"]["frame_counter"] == counter
    assert decoded.readings[-1] == Reading(NOW, "", "low_battery", float(low_battery))
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()


@given(WORDS, st.tuples(WORDS, WORDS, WORDS), st.tuples(WORDS, WORDS, WORDS), WORDS, WORDS)
def test_reads_back_a_three_phase_frame(
    base: int | None,
    iinst: tuple[int | None, int | None, int | None],
    imax: tuple[int | None, int | None, int | None],
    pmax: int | None,
    papp: int | None,
) -> None:
    payload = device.tic_tri(ADCO, base=base, iinst=iinst, imax=imax, pmax=pmax, papp=papp)

    tic = CODEC.decode(1, payload, NOW, {"phases": 3}).data["tic"]

    assert (tic["BASE"], tic["PMAX"], tic["PAPP"]) == (base, pmax, papp)
    assert tuple(tic[f"IINST{phase}"] for phase in "123") == iinst
    assert tuple(tic[f"IMAX{phase}"] for phase in "123") == imax


def test_dates_the_readings_by_the_frame_s_own_timestamp() -> None:
    at_us = NOW - 3_600_000_000
    frame = bytearray(device.tic_mono(ADCO, base=4660)) + ((at_us - EPOCH_2013_US) // 1_000_000).to_bytes(4)
    frame[1] |= 0x04

    decoded = CODEC.decode(1, bytes(frame), NOW, {})

    assert decoded.readings[0] == Reading(at_us, "", "active_energy_import", 4660.0)
    assert decoded.warnings == []


def test_falls_back_on_the_reception_when_the_timestamp_is_unlikely() -> None:
    frame = bytearray(device.tic_mono(ADCO, base=4660)) + bytes(4)
    frame[1] |= 0x04

    decoded = CODEC.decode(1, bytes(frame), NOW, {})

    assert decoded.readings[0].time_us == NOW
    assert decoded.warnings == ["horodatage du module invraisemblable, heure de réception retenue"]


@pytest.mark.parametrize("phases", [1, 3])
def test_rejects_a_frame_of_another_size(phases: int) -> None:
    with pytest.raises(MalformedPayload, match="a 50 octets"):
        CODEC.decode(1, device.tic_mono(ADCO)[:-3], NOW, {"phases": phases})


def test_rejects_a_three_phase_frame_read_as_single_phase() -> None:
    payload = device.tic_tri(ADCO, base=0xFFFFFFF, iinst=(1, 2, 3), papp=0xE9E9E9E9)

    with pytest.raises(MalformedPayload, match="n'est pas du texte ASCII"):
        CODEC.decode(1, payload, NOW, {"phases": 1})


def test_decodes_what_happened_to_a_label() -> None:
    decoded = CODEC.decode(1, device.tic_alarm("PAPP", "high", "09500"), NOW, {})

    assert (decoded.data["label"], decoded.data["alarm"], decoded.data["value"]) == ("PAPP", "high", "09500")
    assert decoded.warnings == ["alarme TIC sur PAPP"]


@pytest.mark.parametrize(("code", "name"), [(0x10, "configuration"), (0x30, "keep_alive"), (0x37, "versions")])
def test_keeps_a_status_frame_as_data(code: int, name: str) -> None:
    decoded = CODEC.decode(1, bytes((code, 0x22, 1, 2)), NOW, {})

    assert (decoded.data["frame"], decoded.data["octets"]) == (name, "0102")
    assert decoded.readings == [Reading(NOW, "", "low_battery", 1.0)]


def test_rejects_another_f_port() -> None:
    with pytest.raises(MalformedPayload, match="f_port 2"):
        CODEC.decode(2, device.keep_alive(), NOW, {})


FRAMES = st.builds(
    bytes.__add__, st.sampled_from([b"\x49", b"\x4a", b"\x30"]), st.binary(min_size=49, max_size=53)
)


@given(st.binary(max_size=60) | FRAMES, st.sampled_from([{}, {"phases": 3}, {"phases": "x"}]))
def test_arbitrary_octets_raise_only_malformed_payload(payload: bytes, options: dict[str, Any]) -> None:
    try:
        decoded = CODEC.decode(1, payload, NOW, options)
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()
