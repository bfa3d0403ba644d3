"""M-Bus records, dates, profiles and keys, against the standard's own examples."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.canonical import MalformedPayload
from decoders.wmbus.crypto import crc, derive_key
from decoders.wmbus.profiles import expand
from decoders.wmbus.records import Function, Record, read_date, read_records


def records(*parts: str) -> list[Record]:
    read, rest = read_records(bytes.fromhex("".join(parts)))
    assert rest == b""
    return read


def test_derives_the_session_keys_of_the_standard_s_example() -> None:
    """CEN/TR 17167:2018, F.3."""
    master, counter, meter = (
        bytes.fromhex(text) for text in ("000102030405060708090a0b0c0d0e0f", "b30a0000", "78563412")
    )

    assert derive_key(b"\x00", counter, meter, master).hex() == "eccf39d475d730b8284fdfdc1995d52f"
    assert derive_key(b"\x01", counter, meter, master).hex() == "c9cd19ff5a9aad5a6bbda13bd2c4c7ad"


def test_checks_blocks_by_the_crc_of_the_standard() -> None:
    """OMS volume 2, annex N.2.1: the first block of the telegram and its CRC, 3363 on the air."""
    assert crc(bytes.fromhex("2e449315785634123303")) == 0x3363


def values(read: list[Record], what: str) -> list[tuple[int, int, object]]:
    return [(record.storage, record.tariff, record.value) for record in read if record.meaning.what == what]


def hour(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


def test_expands_a_compact_profile_as_annex_f_2_7() -> None:
    read = expand(records("84046d00204111", "8b0415003012", "8d04951f056901030211"), [])

    assert values(read, "volume") == [
        (8, 0, 12_300_000),
        (9, 0, 12_300_300),
        (10, 0, 12_300_500),
        (11, 0, 12_301_600),
    ]
    assert [at for _, _, at in values(read, "datetime")] == [hour(2010, 1, 1, number) for number in range(4)]


def test_expands_an_inverse_compact_profile_as_annex_f_2_8() -> None:
    read = expand(records("84046d00234111", "8b0415163012", "8d049513056901110203"), [])

    assert values(read, "volume") == [
        (8, 0, 12_301_600),
        (9, 0, 12_300_500),
        (10, 0, 12_300_300),
        (11, 0, 12_300_000),
    ]
    assert [at for _, _, at in values(read, "datetime")] == [hour(2010, 1, 1, number) for number in (3, 2, 1, 0)]


def test_expands_profiles_with_register_numbers_as_annex_f_2_6() -> None:
    read = expand(
        records(
            *("868081006d0000a0411135", "8490810003f0490200", "8d908100831e0a34fea0860100d0fb0100"),
            *("c68181006d0b0c8d59130c", "c491810003905f0100"),
            *("868281006d00008041140d", "849281000350c30000", "8d928100831e0634fe00710200"),
        ),
        [],
    )

    assert values(read, "energy") == [
        *((32, 1, 150_000), (33, 1, 100_000), (34, 1, 130_000)),
        *((35, 1, 90_000), (36, 1, 50_000), (37, 1, 160_000)),
    ]
    assert [(storage, at) for storage, _, at in values(read, "datetime")] == [
        (32, hour(2010, 1, 1)),
        (33, hour(2010, 2, 1)),
        (34, hour(2010, 3, 1)),
        (35, hour(2010, 3, 25, 13, 12, 11)),
        (36, hour(2010, 4, 1)),
        (37, hour(2010, 5, 1)),
    ]


@pytest.mark.parametrize(
    "profile",
    ["8d04931f03690102", "8d04951f0369fb01", "8d04951f045801aabb", "8d04951f0165", "8d04951f056a01010203"],
)
def test_warns_of_a_profile_that_it_cannot_place(profile: str) -> None:
    warnings: list[str] = []

    read = expand(records("84046d00204111", "8b0415003012", profile), warnings)

    assert values(read, "volume") == [(8, 0, 12_300_000)]
    assert [warning.split(" : ")[0].startswith("profil compact") for warning in warnings] == [True]


@pytest.mark.parametrize(
    ("octets", "instant"),
    [
        ("9f2c", hour(2020, 12, 31)),
        ("bf2c", hour(2021, 12, 31)),
        ("32371f15", hour(2008, 5, 31, 23, 50)),
        ("050607018355", hour(2064, 3, 1, 7, 6, 5)),
        ("ffff", None),
        ("80001f15", None),
        ("058607018355", None),
        ("0000", None),
        ("00", None),
    ],
)
def test_reads_dates(octets: str, instant: datetime | None) -> None:
    assert read_date(bytes.fromhex(octets)) == instant


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("0a5a0708", 80.7),
        ("0a5a07f8", -80.7),
        ("0a5a070e", None),
        ("025a80ff", -12.8),
        ("025a0080", None),
        ("015aff", -0.1),
        ("055a0000a041", 2.0),
        ("055a0000c07f", None),
        ("0d5ac21234", 341.2),
        ("0d5ad21234", -341.2),
        ("0d5ae2e803", 100.0),
        ("005a", None),
        ("0d5a03414243", "CBA"),
    ],
)
def test_reads_the_forms_of_data(octets: str, value: object) -> None:
    (record,) = records(octets)

    assert record.value == value


@pytest.mark.parametrize(
    ("vif", "what", "unit", "value"),
    [
        ("03", "energy", "W.h", 1_000),
        ("0e", "energy", "W.h", 1_000_000_000 / 3_600),
        ("fb01", "energy", "W.h", 1_000_000_000),
        ("fb08", "energy", "W.h", 100_000_000_000 / 3_600),
        ("13", "volume", "L", 1_000),
        ("16", "volume", "L", 1_000_000),
        ("fb10", "volume", "L", 100_000_000),
        ("2b", "power", "W", 1_000),
        ("1b", "mass", "kg", 1_000),
        ("33", "power", "W", 1_000_000 / 3_600),  # J/h
        ("3b", "volume_flow", "L/h", 1_000),  # m³/h
        ("43", "volume_flow", "L/h", 6_000),  # m³/min
        ("4b", "volume_flow", "L/h", 3_600),  # m³/s
        ("59", "flow_temperature", "Cel", 10),
        ("5e", "return_temperature", "Cel", 100),
        ("61", "temperature_difference", "K", 10),
        ("65", "external_temperature", "Cel", 10),
        ("69", "pressure", "hPa", 10_000),
        ("22", "on_time", "s", 3_600_000),
        ("27", "operating_time", "s", 86_400_000),
        ("fd46", "voltage", "V", 1),
        ("fd59", "current", "A", 1),
        ("fb1a", "relative_humidity", "%", 100),
        ("fb2e", "frequency", "Hz", 100),
        ("9374", "volume", "L", 10),
        ("937d", "volume", "L", 1_000_000),
    ],
)
def test_a_thousand_of_each_unit(vif: str, what: str, unit: str, value: float) -> None:
    (record,) = records("02", vif, "e803")

    assert (record.meaning.what, record.meaning.unit) == (what, unit)
    assert record.value == pytest.approx(value)


@given(
    st.sampled_from(list(Function)),
    st.integers(0, (1 << 9) - 1),
    st.integers(0, 15),
    st.integers(0, 3),
    st.integers(-(1 << 31) + 1, (1 << 31) - 1),
)
def test_reads_back_where_a_record_belongs(
    function: Function, storage: int, tariff: int, subunit: int, number: int
) -> None:
    first = 0x84 | list(Function).index(function) << 4 | (storage & 1) << 6
    low = 0x80 | storage >> 1 & 15 | (tariff & 3) << 4 | (subunit & 1) << 6
    high = storage >> 5 | (tariff >> 2) << 4 | (subunit >> 1) << 6
    octets = bytes((first, low, high, 0x13)) + number.to_bytes(4, "little", signed=True)

    ((record,), _) = read_records(octets)

    assert (record.function, record.storage, record.tariff, record.subunit) == (function, storage, tariff, subunit)
    assert record.value == number


@given(st.integers(-(10**7) + 1, 10**8 - 1))
def test_reads_back_a_bcd_number(number: int) -> None:
    digits = f"f{-number:07d}" if number < 0 else f"{number:08d}"

    ((record,), _) = read_records(b"\x0c\x13" + bytes.fromhex(digits)[::-1])

    assert record.value == number


def test_keeps_what_the_manufacturer_put_behind_the_records() -> None:
    read, rest = read_records(bytes.fromhex("2f2f0413e80300000f0102"))

    assert [record.value for record in read] == [1000]
    assert rest == b"\x01\x02"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("0413e803", "il en reste 2"),
        ("04", "le VIF à l'octet 1"),
        ("84", "le DIF"),
        ("84" + 11 * "80" + "00", "trop d'extensions"),
        ("0d5af0", "longueur variable f0"),
        ("7f", "DIF 7f inconnu|le VIF"),
        ("0013" * 201, "plus de 200 enregistrements"),
    ],
)
def test_rejects_records_that_are_none(octets: str, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        read_records(bytes.fromhex(octets))
