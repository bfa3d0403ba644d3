"""Both modes of the Linky land on the same readings."""

from datetime import UTC, datetime

import pytest

from decoders.canonical import Decoded, Reading
from decoders.linky import Dated, MeterDate, TicValue, normalise, read_status

NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z


def read(fields: dict[str, TicValue], **options: object) -> Decoded:
    decoded = Decoded()
    normalise(fields, NOW, options, decoded)
    return decoded


def values(decoded: Decoded) -> dict[tuple[str, str], float]:
    return {(reading.quantity, reading.channel): reading.value for reading in decoded.readings}


def test_reads_both_modes_of_one_meter_alike() -> None:
    historique = read(
        {"BASE": 4660, "PAPP": 750, "IINST": 3, "ISOUSC": 45, "PTEC": "TH..", "ADCO": "021728031819"}
    )
    standard = read({"EAST": 4660, "SINSTS": 750, "IRMS1": 3, "PREF": 9, "LTARF": "BASE", "ADSC": "021728031819"})

    common = values(standard)
    assert common.items() <= values(historique).items()
    assert common == {
        ("active_energy_import", ""): 4660.0,
        ("apparent_power", ""): 750.0,
        ("current", "phase_a"): 3.0,
        ("subscribed_power", ""): 9.0,
    }
    assert historique.data["meter_id"] == standard.data["meter_id"] == "021728031819"
    assert (historique.data["tariff_period"], standard.data["tariff_period"]) == ("TH", "BASE")


def test_names_the_historique_indexes_by_their_label() -> None:
    decoded = read({"HCHC": 1, "HCHP": 2, "EJPHN": 3, "EJPHPM": 4, "BBRHCJB": 5, "BBRHPJR": 6})

    assert [reading.channel for reading in decoded.readings] == [
        "hc",
        "hp",
        "ejp_hn",
        "ejp_hpm",
        "bbr_hcjb",
        "bbr_hpjr",
    ]


def test_numbers_the_supplier_s_indexes_unless_the_profile_names_the_tariff() -> None:
    fields: dict[str, TicValue] = {"EASF01": 1, "EASF02": 2, "EASF03": 3, "EASD01": 4}

    assert [reading.channel for reading in read(fields).readings] == [
        "index_1",
        "index_2",
        "index_3",
        "distributor_1",
    ]
    assert [reading.channel for reading in read(fields, tariff="hphc").readings] == [
        "hc",
        "hp",
        "index_3",
        "distributor_1",
    ]
    assert [reading.channel for reading in read(fields, tariff="tempo").readings][:3] == [
        "bbr_hcjb",
        "bbr_hpjb",
        "bbr_hcjw",
    ]


@pytest.mark.parametrize(
    ("fields", "options", "kva"),
    [
        ({"ISOUSC": 45}, {}, 9.0),
        ({"ISOUSC": 30}, {"phases": 3}, 18.0),
        ({"ISOUSC": 30, "IINST2": 1}, {}, 18.0),
    ],
)
def test_gives_the_subscribed_power_of_an_isousc(
    fields: dict[str, TicValue], options: dict[str, object], kva: float
) -> None:
    decoded = read(fields, **options)

    assert values(decoded)["subscribed_power", ""] == kva


def test_reads_the_injected_side_and_the_quadrants() -> None:
    decoded = read({"EAIT": 15826885, "SINSTI": 2100, "ERQ1": 1, "ERQ4": 4, "URMS2": 231})

    assert values(decoded) == {
        ("active_energy_export", ""): 15826885.0,
        ("apparent_power", "export"): 2100.0,
        ("reactive_energy", "q1"): 1.0,
        ("reactive_energy", "q4"): 4.0,
        ("voltage", "phase_b"): 231.0,
    }


@pytest.mark.parametrize(
    ("season", "hour", "utc_hour"),
    [("H", 9, 8), ("E", 9, 7)],
    ids=["winter", "summer"],
)
def test_dates_a_load_curve_point_by_the_meter_s_season(season: str, hour: int, utc_hour: int) -> None:
    decoded = read({"CCASN": Dated(MeterDate(season, 26, 11, 25, hour, 30, 0), 1234)})

    at = datetime(2026, 11, 25, utc_hour, 30, tzinfo=UTC)
    assert decoded.readings == [Reading(int(at.timestamp()) * 1_000_000, "load_curve", "active_power", 1234.0)]


@pytest.mark.parametrize(
    ("date", "warning"),
    [
        (MeterDate("h", 26, 11, 25, 9, 30, 0), "incertaine (h261125093000)"),
        (MeterDate(" ", 0, 0, 0, 0, 0, 0), "incertaine ( 000000000000)"),
        (MeterDate("H", 26, 2, 30, 9, 30, 0), "incertaine (H260230093000)"),
        (MeterDate("H", 20, 11, 25, 9, 30, 0), "invraisemblable (2020-11-25T09:30:00+01:00)"),
        (MeterDate("H", 27, 11, 25, 9, 30, 0), "invraisemblable (2027-11-25T09:30:00+01:00)"),
    ],
)
def test_makes_no_reading_of_an_uncertain_or_unlikely_date(date: MeterDate, warning: str) -> None:
    decoded = read({"SMAXSN": Dated(date, 4523)})

    assert decoded.readings == []
    assert decoded.warnings == [f"SMAXSN : date du compteur {warning}"]
    assert decoded.data["tic"]["SMAXSN"]["value"] == 4523


def test_keeps_an_absent_label_without_a_reading() -> None:
    decoded = read({"BASE": None})

    assert decoded.readings == []
    assert decoded.data["tic"] == {"BASE": None}


def test_reads_the_status_word() -> None:
    status = read_status(1 << 0 | 3 << 1 | 1 << 4 | 1 << 7 | 1 << 10 | 2 << 14 | 3 << 24 | 1 << 26 | 1 << 16)

    assert status == {
        "dry_contact_open": True,
        "breaker": "load_shedding",
        "cover_open": True,
        "over_voltage": False,
        "over_subscribed_power": True,
        "producer": False,
        "supplier_index": 2,
        "distributor_index": 3,
        "clock_degraded": True,
        "colour_today": "rouge",
        "colour_tomorrow": "bleu",
        "mobile_peak_notice": 0,
        "mobile_peak": 0,
    }
