import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages.measurements import Flag
from core.messages.uplinks import Uplink
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.catalogue import CODECS
from decoders.codec import Codec
from decoders.containers import ContainerGeometry
from ingest.pipeline import KnownDevice, Serving, interpret, place, problem_of

NOW_US = 1_795_597_200_000_000  # 2026-11-25
DAY_US = 86_400_000_000
PRISM = ContainerGeometry(((2_000.0, 0.0), (400.0, 100.0)))


def uplink(payload: bytes = b"\x01", f_port: int = 85, **changes: Any) -> Uplink:
    values: dict[str, Any] = {
        "uplink_id": bytes(16),
        "device_id": 1,
        "session_id": 1,
        "f_cnt": 1,
        "f_port": f_port,
        "payload": payload,
        "confirmed": False,
        "time_us": NOW_US,
        "received_at_us": NOW_US,
        "frequency": 868_100_000,
        "spreading_factor": 7,
        "bandwidth": 125_000,
        "late": False,
        "receptions": [],
    }
    return Uplink(**(values | changes))


def device(codec: Codec | None, serving: Serving | None = None) -> KnownDevice:
    servings = () if serving is None else (serving,)
    return KnownDevice(1, 1, codec.name if codec else "acme.gone", codec, {}, servings, Serving(1, None, 1))


def codec_that(says: Decoded | Exception) -> Codec:
    def decode(_f_port: int, _payload: bytes, _time_us: int, _options: Mapping[str, Any]) -> Decoded:
        if isinstance(says, Exception):
            raise says
        return says

    return Codec("acme.test", 3, decode)


def values_of(*readings: Reading) -> list[tuple[str, int, float, int]]:
    interpreted = interpret(uplink(), device(codec_that(Decoded(list(readings)))))
    return [(value.quantity.name, value.time_us, value.value, value.flags) for value in interpreted.values]


@pytest.mark.parametrize(("payload", "f_port"), [(b"", 85), (b"\x01", 0), (b"\x01", -1), (b"\x01", 224)])
def test_an_uplink_without_payload_or_application_port_is_empty(payload: bytes, f_port: int) -> None:
    interpreted = interpret(uplink(payload, f_port), device(CODECS["milesight.em400"]))

    assert interpreted.status == "empty"
    assert interpreted.values == []


def test_a_distance_in_a_container_of_known_geometry_is_also_a_fill_level() -> None:
    # README of em400-udl: 2116 mm; the container of the asset is empty at 2400 mm and full at 400 mm.
    serving = Serving(1, 7, 1, geometry=ContainerGeometry(((2_400.0, 0.0), (400.0, 100.0))))
    payload = bytes.fromhex("01755c0367010104824408050001")

    interpreted = interpret(uplink(payload), device(CODECS["milesight.em400"], serving))

    found = {value.quantity.name: value.value for value in interpreted.values}
    assert found["distance"] == 2116
    assert found["fill_level"] == pytest.approx(14.2)


def test_a_distance_beyond_the_container_gives_a_warning_instead_of_a_level() -> None:
    serving = Serving(1, 7, 1, geometry=PRISM)
    codec = codec_that(Decoded([Reading(NOW_US, "", "distance", 9_000.0)]))

    interpreted = interpret(uplink(), device(codec, serving))

    assert [value.quantity.name for value in interpreted.values] == ["distance"]
    assert "hors du conteneur" in json.loads(interpreted.document or b"")["warnings"][0]


def test_a_value_outside_the_range_of_its_quantity_is_kept_and_suspect() -> None:
    assert values_of(Reading(NOW_US, "", "relative_humidity", 130.0)) == [
        ("relative_humidity", NOW_US, 130.0, Flag.SUSPECT)
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_a_warning(value: float) -> None:
    interpreted = interpret(uplink(), device(codec_that(Decoded([Reading(NOW_US, "", "temperature", value)]))))

    assert interpreted.status == "decoded"
    assert interpreted.values == []
    assert "temperature" in json.loads(interpreted.document or b"")["warnings"][0]


def test_a_quantity_without_catalogue_entry_becomes_a_warning() -> None:
    interpreted = interpret(uplink(), device(codec_that(Decoded([Reading(NOW_US, "", "phlogiston", 1.0)]))))

    assert interpreted.values == []
    assert "phlogiston" in json.loads(interpreted.document or b"")["warnings"][0]


@pytest.mark.parametrize("time_us", [NOW_US + 301_000_000, NOW_US - 367 * DAY_US, 0, -(10**17), 10**20])
def test_an_instant_that_is_not_credible_is_replaced_by_the_uplink_s_and_says_so(time_us: int) -> None:
    assert values_of(Reading(time_us, "", "temperature", 20.0)) == [
        ("temperature", NOW_US, 20.0, Flag.TIME_SUSPECT)
    ]


def test_an_instant_a_little_ahead_is_that_of_the_uplink() -> None:
    assert values_of(Reading(NOW_US + 299_000_000, "", "temperature", 20.0)) == [("temperature", NOW_US, 20.0, 0)]


@pytest.mark.parametrize("time_us", [NOW_US - 1, NOW_US - 300 * DAY_US])
def test_a_credible_instant_is_kept(time_us: int) -> None:
    assert values_of(Reading(time_us, "", "temperature", 20.0)) == [("temperature", time_us, 20.0, 0)]


def test_values_at_credible_instants_come_before_those_whose_instant_was_replaced() -> None:
    found = values_of(Reading(0, "", "temperature", 1.0), Reading(NOW_US, "", "temperature", 2.0))

    assert [value for _, _, value, _ in found] == [2.0, 1.0]


def test_a_malformed_payload_is_undecodable_with_a_reason_in_french() -> None:
    interpreted = interpret(uplink(), device(codec_that(MalformedPayload("channel 99 at octet 0\0"))))

    assert interpreted.status == "undecodable"
    assert (interpreted.reason, interpreted.detail) == ("unreadable", "channel 99 at octet 0\ufffd")
    assert (interpreted.codec, interpreted.codec_version) == ("acme.test", 3)


@pytest.mark.parametrize(
    "defect", [KeyError("x"), RecursionError(), ZeroDivisionError("no"), OverflowError("x" * 9999)]
)
def test_a_defect_of_a_decoder_makes_its_uplink_undecodable(defect: Exception) -> None:
    interpreted = interpret(uplink(), device(codec_that(defect)))

    assert interpreted.status == "undecodable"
    assert interpreted.reason == "codec_failed"
    assert type(defect).__name__ in (interpreted.detail or "")
    assert len(interpreted.detail or "") <= 500


def test_an_unknown_codec_makes_the_uplink_undecodable() -> None:
    interpreted = interpret(uplink(), device(None))

    assert interpreted.status == "undecodable"
    assert (interpreted.reason, interpreted.codec) == ("unknown_codec", "acme.gone")


def test_text_that_postgresql_does_not_take_is_cleaned() -> None:
    data: dict[str, Any] = {"serial\0": "a\0b", "list": ["\ud800", {"x": ("\0",)}], "number": 1}

    interpreted = interpret(uplink(), device(codec_that(Decoded(data=data))))

    assert json.loads(interpreted.document or b"") == {
        "serial\ufffd": "a\ufffdb",
        "list": ["\ufffd", {"x": ["\ufffd"]}],
        "number": 1,
    }


def test_data_that_is_no_json_makes_the_uplink_undecodable() -> None:
    interpreted = interpret(uplink(), device(codec_that(Decoded(data={"x": object()}))))

    assert interpreted.status == "undecodable"


@given(st.sampled_from(sorted(CODECS)), st.integers(-1, 255), st.binary(max_size=60))
def test_no_octets_whatsoever_make_interpreting_fail(codec: str, f_port: int, payload: bytes) -> None:
    interpreted = interpret(uplink(payload, f_port), device(CODECS[codec], Serving(1, 7, 1, geometry=PRISM)))

    assert interpreted.status in {"decoded", "empty", "undecodable"}
    assert all(math.isfinite(value.value) for value in interpreted.values)


HUMIDITY = ("", "relative_humidity")


def rows_of(*readings: Reading) -> dict[int, tuple[int, int, float, int]]:
    """What is stored of these readings when their one datastream, number 7, is known already."""
    serving = Serving(1, None, 1)
    serving.remember(*HUMIDITY, 7)
    interpreted = interpret(uplink(), device(codec_that(Decoded(list(readings))), serving))
    if interpreted.values:
        place(interpreted)
    return interpreted.rows


@pytest.mark.parametrize(
    ("value", "flags"), [(-0.1, Flag.SUSPECT), (0.0, 0), (55.0, 0), (100.0, 0), (100.1, Flag.SUSPECT)]
)
def test_a_value_of_a_known_datastream_is_suspect_outside_of_either_bound(value: float, flags: int) -> None:
    assert rows_of(Reading(NOW_US, *HUMIDITY, value)) == {7: (7, NOW_US, value, flags)}


def test_of_two_readings_of_one_datastream_at_one_instant_the_first_is_stored() -> None:
    assert rows_of(Reading(NOW_US, *HUMIDITY, 55.0), Reading(NOW_US, *HUMIDITY, 66.0)) == {7: (7, NOW_US, 55.0, 0)}


def test_a_device_serves_what_it_served_at_the_uplink_s_time_else_at_its_reception() -> None:
    former = Serving(1, 7, 1, since_us=0, until_us=100)
    current = Serving(1, 8, 1, since_us=200, until_us=300)
    known = KnownDevice(1, 1, "c", None, {}, (former, current), Serving(1, None, 1))

    assert known.serving_at(50, 250) is former
    assert known.serving_at(199, 201) is current
    assert known.serving_at(150, 160) is known.unassigned


@pytest.mark.parametrize(
    "changes",
    [
        {"uplink_id": b"short"},
        {"time_us": 10**20},
        {"time_us": -1},
        {"received_at_us": 0},
        {"device_id": 0},
        {"device_id": 1 << 40},
        {"f_port": 1 << 20},
        {"f_cnt": (1 << 64) - 1},
        {"session_id": -5},
    ],
)
def test_fields_of_which_no_row_can_be_made_are_named(changes: dict[str, Any]) -> None:
    assert problem_of(uplink(**changes)) is not None


def test_an_ordinary_uplink_has_no_problem() -> None:
    assert problem_of(uplink()) is None
