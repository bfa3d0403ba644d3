"""Watteco's frames against the vendor's examples and the format's tables."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload, Reading
from decoders.catalogue import CODECS
from decoders.watteco.standard import decode_standard
from tests.decoders.vectors import read_vectors
from tests.each import each

VECTORS = read_vectors("watteco")
# Those whose values the vendor prints; a note says where the vendor is wrong, or says it in other words.
COMPARED = [vector for vector in VECTORS if vector["vendor"] and "note" not in vector]
BATCHES = [vector for vector in VECTORS if "vendor_samples" in vector]
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z

# The vendor's words for what we keep as a boolean, and its names of what we do not keep as a value.
WORDS = {"ON": True, "OFF": False, "unconfirmed": False, "confirmed": True, "NA": True}
NOT_VALUES = {"DATE", "DEBUTp", "DATEEAp", "DebP", "report", "report_parameters", "attribut_type", "min", "max"}
NOT_VALUES |= {"modepower", "powersource", "delta", "changedpowersource", "cmdID", "clustID", "attID"}
# Metres and millivolts of the vendor are millimetres and volts here.
SCALES = (1, 1_000, 0.001)


def identity(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def decode(vector: dict[str, Any]) -> Any:
    codec = CODECS[vector["codec"]]
    return codec.decode(vector["f_port"], bytes.fromhex(vector["bytes_hex"]), vector["time_us"], vector["options"])


def says(ours: list[Any], value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        wanted = [pytest.approx(value * scale, abs=1e-9) for scale in SCALES]
        return any(isinstance(one, int | float) and one in wanted for one in ours)
    return value in ours or (isinstance(value, str) and value.lower() in ours)


@each(VECTORS)
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    expected = vector["expected"]

    decoded = decode(vector)

    readings = [
        Reading(at[0] if at else vector["time_us"], channel, quantity, value)
        for channel, quantity, value, *at in expected["readings"]
    ]
    assert readings == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()


@each(COMPARED)
def test_finds_every_value_that_the_vendor_prints(vector: dict[str, Any]) -> None:
    decoded = decode(vector)
    ours = [*leaves(decoded.data), *(reading.value for reading in decoded.readings)]

    for name, value in vector["vendor"].items():
        if name not in NOT_VALUES:
            assert says(ours, WORDS.get(value, value) if isinstance(value, str) else value), name


@pytest.mark.parametrize("vector", BATCHES, ids=identity)
def test_finds_every_sample_of_a_batch_at_the_vendor_s_instant(vector: dict[str, Any]) -> None:
    decoded = decode(vector)
    ours = [(reading.value, reading.time_us) for reading in decoded.readings]
    for samples in decoded.data.get("series", {}).values():
        ours += [(sample["value"], sample["time_us"]) for sample in samples]

    assert len(ours) == len(vector["vendor_samples"])
    for name, value, time_us in vector["vendor_samples"]:
        assert says([one for one, at_us in ours if at_us == time_us], value), name


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        ("20000000e008000000207e1c20424030040801", "trame batch"),
        ("", "au moins 4 octets"),
        ("110a0402", "tronquée avant le type de l'attribut"),
        ("110a04020000290b", "demande 2 octets, reçu 0b"),
        ("1105000600001001", "la commande 0x05"),
        ("110a0402000023000000ff", "a 2 octets, reçu 000000ff"),
        ("110a01230000f701", "type inconnu 0xf7"),
        ("118a04020000290755b0b0", "aucune sorte de cause connue"),
        ("118a0402000029010ea0b008fc0000", "paramètres du rapport tronqués"),
        ("110a005000064103030401", "a 5 octets"),
    ],
)
def test_rejects_a_frame_that_breaks_a_rule(octets: str, rule: str) -> None:
    with pytest.raises(MalformedPayload, match=rule):
        decode_standard(125, bytes.fromhex(octets), NOW, {})


def test_rejects_another_f_port() -> None:
    with pytest.raises(MalformedPayload, match="f_port 1 :"):
        decode_standard(1, bytes.fromhex("110a04020000290b89"), NOW, {})


def test_keeps_a_report_of_an_unknown_cluster_with_a_warning() -> None:
    decoded = decode_standard(125, bytes.fromhex("110a77770001210102"), NOW, {})

    assert decoded.readings == []
    assert decoded.data["octets"] == "0102"
    assert decoded.warnings == ["attribut 7777/0001 inconnu, gardé tel quel"]


def test_says_that_a_read_was_rejected() -> None:
    decoded = decode_standard(125, bytes.fromhex("11010006000086"), NOW, {})

    assert decoded.readings == []
    assert decoded.warnings == ["lecture refusée par le capteur, statut 0x86"]


def test_drops_an_analogue_value_that_is_no_number() -> None:
    decoded = decode_standard(125, bytes.fromhex("110a000c0055397fc00000"), NOW, {})

    assert decoded.readings == []
    assert decoded.data["analog"] is None
    assert decoded.warnings == ["analog : le capteur n'envoie pas un nombre"]


def test_counts_occurrences_up_and_down_when_the_criterion_has_them() -> None:
    decoded = decode_standard(125, bytes.fromhex("118a0402000029010ea0b008fc0000820003000f"), NOW, {})

    (cause,) = decoded.data["causes"]
    assert (cause["occurrences"], cause["occurrences_up"], cause["occurrences_down"]) == (2, 3, 15)


HEADERS = st.sampled_from([bytes((0x11, command)) for command in (0x01, 0x07, 0x09, 0x0A, 0x8A)])
CLUSTERS = st.sampled_from(
    [
        bytes.fromhex(f"{vector['bytes_hex'][4:12]}{vector['bytes_hex'][12:16]}")
        for vector in VECTORS
        if len(vector["bytes_hex"]) >= 16
    ]
)


@given(
    st.binary(max_size=60) | st.builds(lambda *parts: b"".join(parts), HEADERS, CLUSTERS, st.binary(max_size=80))
)
def test_arbitrary_octets_raise_only_malformed_payload(payload: bytes) -> None:
    try:
        decoded = decode_standard(125, payload, NOW, {})
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()
