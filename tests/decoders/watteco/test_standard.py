"""Watteco's standard frames against the vendor's examples and the format's tables."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload, Reading
from decoders.watteco.standard import decode_standard

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "vectors" / "watteco.jsonl").read_text("utf-8").splitlines()
]
DECODED = [vector for vector in VECTORS if "error" not in vector["expected"]]
# Those whose values the vendor prints and we do not keep as octets; a note says where the vendor is wrong.
COMPARED = [
    vector
    for vector in DECODED
    if vector["vendor"]
    and "note" not in vector
    and not {"octets", "configuration"} & vector["expected"]["data"].keys()
]
REFUSED = [vector for vector in VECTORS if "error" in vector["expected"]]
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z

# The vendor's words for what we keep as a boolean.
WORDS = {"ON": True, "OFF": False, "unconfirmed": False, "confirmed": True}


def identity(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@pytest.mark.parametrize("vector", DECODED, ids=identity)
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    expected = vector["expected"]

    decoded = decode_standard(vector["f_port"], bytes.fromhex(vector["bytes_hex"]), vector["time_us"], {})

    readings = [
        Reading(at[0] if at else vector["time_us"], channel, quantity, value)
        for channel, quantity, value, *at in expected["readings"]
    ]
    assert readings == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()


@pytest.mark.parametrize("vector", COMPARED, ids=identity)
def test_finds_every_value_that_the_vendor_prints(vector: dict[str, Any]) -> None:
    decoded = decode_standard(vector["f_port"], bytes.fromhex(vector["bytes_hex"]), vector["time_us"], {})
    ours = [*leaves(decoded.data), *(reading.value for reading in decoded.readings)]

    for name, value in vector["vendor"].items():
        if name != "DATE":
            assert WORDS.get(value, value) in ours, name


@pytest.mark.parametrize("vector", REFUSED, ids=identity)
def test_refuses_a_professional_meter_s_tic_saying_so(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedPayload, match="n'est pas encore décodé"):
        decode_standard(vector["f_port"], bytes.fromhex(vector["bytes_hex"]), vector["time_us"], {})


# Watteco/Codec-API-LoRaWAN devices/flash'o/examples.json
BATCH = bytes.fromhex("20000000e008000000207e1c20424030040801")


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        (BATCH.hex(), "les trames compressées ne sont pas encore décodées"),
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
def test_refuses_a_frame_that_breaks_a_rule(octets: str, rule: str) -> None:
    with pytest.raises(MalformedPayload, match=rule):
        decode_standard(125, bytes.fromhex(octets), NOW, {})


def test_refuses_another_f_port() -> None:
    with pytest.raises(MalformedPayload, match="f_port 1 :"):
        decode_standard(1, bytes.fromhex("110a04020000290b89"), NOW, {})


def test_keeps_a_report_of_an_unknown_cluster_with_a_warning() -> None:
    decoded = decode_standard(125, bytes.fromhex("110a77770001210102"), NOW, {})

    assert decoded.readings == []
    assert decoded.data["octets"] == "0102"
    assert decoded.warnings == ["attribut 7777/0001 inconnu, gardé tel quel"]


def test_says_that_a_read_was_refused() -> None:
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
