"""Each label of each kind of meter, alone in a frame: that no two of them are taken for each other."""

from typing import Any

import pytest

from decoders.canonical import MalformedPayload, Reading
from decoders.watteco.codecs import TIC
from tests.decoders.tic_labels import FORMS, METER_S, NAMES, NOW, Label, read_labels
from tests.each import each

LABELS = read_labels()
BY_NAME = {(label.mode, label.attribute, label.name): label for label in LABELS}
TABLES = {(label.cluster, label.attribute): label.index + 1 for label in LABELS}
PERIODS = {1: "p", 2: "p1"}


def frame(*labels: Label) -> bytes:
    """A report of these labels, whose descriptor is the list of their indexes."""
    inside = sorted(labels, key=lambda label: label.index)
    data = bytes([0x21 + len(inside), *(label.index for label in inside)])
    return report(labels[0].cluster, labels[0].attribute, data + b"".join(label.octets for label in inside))


def report(cluster: int, attribute: int, data: bytes) -> bytes:
    return bytes.fromhex(f"110a{cluster:04x}{attribute:04x}41{len(data):02x}") + data


def pme_pmi(name: str) -> Label:
    return BY_NAME["PME-PMI", 0, name]


@each(LABELS)
def test_a_frame_of_one_label_is_read_as_that_label(label: Label) -> None:
    decoded = TIC.decode(125, frame(label), NOW, {})

    assert decoded.data["tic"] == {label.name: label.shown}
    assert (decoded.data["mode"], decoded.data.get("period")) == (label.mode, PERIODS.get(label.attribute))
    assert {name: decoded.data[name] for name in NAMES if name in decoded.data} == label.named()
    assert decoded.readings == label.readings()


@pytest.mark.parametrize(("table", "labels"), TABLES.items())
def test_a_label_behind_the_last_of_its_meter_is_malformed(table: tuple[int, int], labels: int) -> None:
    with pytest.raises(MalformedPayload, match=f"le champ TIC {labels} n'existe pas"):
        TIC.decode(125, report(*table, bytes((0x22, labels))), NOW, {})


def test_every_form_of_a_value_is_that_of_a_label() -> None:
    assert {label.form for label in LABELS} == FORMS.keys()


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("EAP_s", "active_energy_import"),
        ("EAP_i", "active_energy_export"),
        ("ER+P_s", "reactive_energy_import"),
        ("ER-P_s", "reactive_energy_export"),
        ("ER+P_i", None),
        ("ER-P_i", None),
        ("EaP-1_s", None),
    ],
)
def test_an_index_of_a_pme_pmi_is_a_reading_of_the_running_tariff(name: str, quantity: str | None) -> None:
    decoded = TIC.decode(125, frame(pme_pmi("PTCOUR1"), pme_pmi(name)), NOW, {})

    assert decoded.readings == ([] if quantity is None else [Reading(NOW, "abc", quantity, 100_001_000.0)])


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize(
    ("mode", "suffix", "channel"),
    [
        ("ICE", "", "load_curve"),
        ("PME-PMI", "_s", "load_curve"),
        ("PME-PMI", "_i", "load_curve_export"),
    ],
)
def test_a_power_of_ten_minutes_is_dated_by_the_label_before_it(
    mode: str, suffix: str, channel: str, number: int
) -> None:
    date, power = BY_NAME[mode, 0, f"DATEPA{number}"], BY_NAME[mode, 0, f"PA{number}{suffix}"]
    another = BY_NAME[mode, 0, f"DATEPA{number % 6 + 1}"]

    readings: list[Any] = [TIC.decode(125, frame(of, power), NOW, {}).readings for of in (date, another)]

    assert readings == [[Reading(METER_S * 1_000_000, channel, "active_power", 300_000.0)], []]


# By their codes, from 3 on; words from 4 on. A PME-PMI knows the first of a Linky's contracts and periods.
CONTRACTS = (
    "BT 4 SUP36|BT 5 SUP36|HTA 5     |HTA 8     |TJ EJP    |TJ EJP-HH |TJ EJP-PM |TJ EJP-SD |TJ LU     |"
    "TJ LU-CH  |TJ LU-P   |TJ LU-PH  |TJ LU-SD  |TJ MU     |TV A5 BASE|TV A8 BASE|BASE|H PLEINE-CREUSE|HPHC|"
    "HC|HC et Week-End|EJP|PRODUCTEUR"
)
PERIODS_OF_THE_DAY = (
    " ? |000|HC|HCD|HCE|HCH|HH|HH |HP|HP |HPD|HPE|HPH|JA|JA |P|P  |PM|PM |XXX|INDEX NON CONSO|BASE|HEURE CREUSE|"
    "HEURE PLEINE|HEURE NORMALE|HEURE POINTE|HC BLEU|BUHC|HP BLEU|BUHP|HC BLANC|BCHC|HP BLANC|BCHP|HC ROUGE|RHC|"
    "HP ROUGE|RHP|HEURE WEEK-END"
)
WORDS = "ACTIF|CONSO|CONTROLE|DEP|INACTIF|PROD|TEST|kVA|kW"
CODES = [
    (label, code, text)
    for label, first, table in (
        (BY_NAME["standard", 0, "NGTF"], 3, CONTRACTS),
        (pme_pmi("MESURES1"), 3, CONTRACTS),
        (BY_NAME["standard", 0, "LTARF"], 3, PERIODS_OF_THE_DAY),
        (pme_pmi("PTCOUR1"), 3, PERIODS_OF_THE_DAY),
        (pme_pmi("TARIFDYN"), 4, WORDS),
    )
    for code, text in enumerate(table.split("|"), first)
]


@each(CODES)
def test_a_code_of_a_label_is_read_as_its_text(label: Label, code: int, text: str) -> None:
    data = bytes((0x22, label.index, code))

    decoded = TIC.decode(125, report(label.cluster, label.attribute, data), NOW, {})

    assert decoded.data["tic"] == {label.name: text}


@pytest.mark.parametrize(("code", "unit"), [(0x0B, "kVA"), (0x0C, "kW")])
def test_the_unit_of_a_power_is_a_code_of_the_words(code: int, unit: str) -> None:
    label = pme_pmi("PMAX_s")
    data = bytes((0x22, label.index, 0, 0, 66, code))

    decoded = TIC.decode(125, report(label.cluster, label.attribute, data), NOW, {})

    assert decoded.data["tic"] == {"PMAX_s": {"value": 66, "unit": unit}}
