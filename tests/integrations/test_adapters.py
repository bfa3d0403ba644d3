"""Every adapter on samples of its LNS: the same canonical uplink, and nothing but Unreadable for anything else."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages.uplinks import Reception as HeardBy
from core.messages.uplinks import Uplink
from core.model.identities import F_CNT_END, uplink_identity
from integrations.lns.adapters import ADAPTERS, read
from integrations.lns.canonical import canonical
from integrations.lns.lns_uplink import (
    NO_F_PORT,
    DownlinkReport,
    Ignored,
    LnsMessage,
    LnsUplink,
    Unreadable,
)
from tests.contracts.lns_samples import EM400, LNS_DELAY_US, SAMPLES, Sample, SampleUplink

NOW_US = 1_795_597_200_123_000  # 2026-11-25
HEARD = SampleUplink(NOW_US, bytes.fromhex("70b3d57ed0001234"), bytes.fromhex("0080e115000a9b72"))
DEVICE, SOURCE = 12, 34
DAY_US = 86_400_000_000


def lns_uplink(sample: Sample, change: Callable[[dict[str, Any]], None] | None = None, **headers: str) -> Any:
    message = sample.write(HEARD)
    body = json.loads(message.body)
    if change is not None:
        change(body)
    return read(sample.kind, LnsMessage(json.dumps(body).encode(), message.topic, headers))


def ours(sample: Sample, received_at_us: int = NOW_US + 500_000) -> Uplink:
    return canonical(lns_uplink(sample), SOURCE, DEVICE, received_at_us)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_frame_is_the_same_uplink_whichever_lns_sends_it(name: str) -> None:
    sample = SAMPLES[name]

    uplink = ours(sample)

    radio = (868_100_000, 7, 125_000) if sample.names_radio else (0, 0, 0)
    assert (uplink.frequency, uplink.spreading_factor, uplink.bandwidth) == radio
    assert uplink.receptions == ([HeardBy(HEARD.gateway_id, 0, -104.0, 5.5)] if sample.names_gateways else [])
    assert (uplink.device_id, uplink.session_id, uplink.late) == (DEVICE, 0, False)
    assert (uplink.f_port, uplink.payload) == (85, EM400)
    assert uplink.confirmed is sample.names_confirmed
    assert uplink.time_us == NOW_US + (LNS_DELAY_US if sample.time_is == "lns" else 0)
    if sample.counts:
        assert uplink.f_cnt == 1234
        assert uplink.uplink_id == uplink_identity(DEVICE, 0, 1234, 85, EM400)
    else:
        assert uplink.f_cnt >= F_CNT_END


@pytest.mark.parametrize("name", [name for name in SAMPLES if SAMPLES[name].kind != "thingpark"])
def test_a_second_delivery_much_later_is_the_same_uplink_at_the_same_time(name: str) -> None:
    sample = SAMPLES[name]

    first, second = ours(sample), ours(sample, NOW_US + 3 * DAY_US)

    assert (first.uplink_id, first.time_us) == (second.uplink_id, second.time_us)


def test_a_gateway_whose_clock_is_wrong_dates_nothing() -> None:
    def back_to_1970(body: dict[str, Any]) -> None:
        body["time"] = "1970-01-01T00:12:00Z"

    uplink = canonical(lns_uplink(SAMPLES["chirpstack"], back_to_1970), SOURCE, DEVICE, NOW_US + 500_000)

    assert uplink.time_us == NOW_US + LNS_DELAY_US


@pytest.mark.parametrize("ahead_us", [31_000_000, 400 * DAY_US])
def test_an_lns_that_is_ahead_of_us_dates_nothing(ahead_us: int) -> None:
    received_at_us = NOW_US - ahead_us

    assert ours(SAMPLES["wanesy"], received_at_us).time_us == received_at_us


def test_thingpark_is_believed_when_it_says_that_a_report_is_late() -> None:
    def late(body: dict[str, Any]) -> None:
        body["DevEUI_uplink"]["Late"] = "1"

    received_at_us = NOW_US + DAY_US

    kept = canonical(lns_uplink(SAMPLES["thingpark, texts"], late), SOURCE, DEVICE, received_at_us)
    unmarked = canonical(lns_uplink(SAMPLES["thingpark, texts"]), SOURCE, DEVICE, received_at_us)

    assert (kept.time_us, unmarked.time_us) == (NOW_US, received_at_us)


def test_wanesy_marks_what_it_kept_by_a_header() -> None:
    replayed = lns_uplink(SAMPLES["wanesy"], **{"klk-unsent-dataup": "true"})

    assert replayed.is_replay
    assert not lns_uplink(SAMPLES["wanesy"]).is_replay


def drop_zeros(kind: str) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        if kind == "chirpstack":
            for name in ("fCnt", "fPort", "data", "confirmed"):
                del body[name]
            del body["rxInfo"][0]["rssi"]
        else:
            for name in ("f_cnt", "f_port", "frm_payload", "confirmed"):
                del body["uplink_message"][name]
            for name in ("rssi", "channel_rssi"):
                del body["uplink_message"]["rx_metadata"][1][name]

    return change


@pytest.mark.parametrize("name", ["chirpstack", "the_things_stack"])
def test_fields_that_are_zero_are_left_out_and_read_as_zero(name: str) -> None:
    uplink = lns_uplink(SAMPLES[name], drop_zeros(name))

    assert (uplink.f_cnt, uplink.f_port, uplink.payload, uplink.confirmed) == (0, NO_F_PORT, b"", False)
    assert uplink.receptions == (HeardBy(HEARD.gateway_id, 0, 0.0, 5.5),)


def test_an_empty_frame_of_thingpark_has_no_payload() -> None:
    def empty(body: dict[str, Any]) -> None:
        del body["DevEUI_uplink"]["payload_hex"], body["DevEUI_uplink"]["FPort"]

    uplink = lns_uplink(SAMPLES["thingpark, texts"], empty)

    assert (uplink.f_port, uplink.payload) == (NO_F_PORT, b"")


ENCRYPTED: dict[str, Callable[[dict[str, Any]], None]] = {
    "thingpark, numbers": lambda body: body["DevEUI_uplink"].update(PayloadEncryption=1),
    "wanesy": lambda body: body.update(encrypted=True),
    "the_things_stack": lambda body: body["uplink_message"].update(app_s_key={"encrypted_key": "x"}),
}


@pytest.mark.parametrize("name", ENCRYPTED)
def test_a_payload_that_is_still_encrypted_is_rejected(name: str) -> None:
    with pytest.raises(Unreadable, match="chiffrée"):
        lns_uplink(SAMPLES[name], ENCRYPTED[name])


@pytest.mark.parametrize(
    ("kind", "body", "topic"),
    [
        ("chirpstack", {"deviceInfo": {}}, "eu/application/1/device/70b3d57ed0001234/event/join"),
        ("the_things_stack", {"end_device_ids": {}, "join_accept": {}}, ""),
        ("the_things_stack", {"simulated": True, "uplink_message": {}}, ""),
        ("thingpark", {"DevEUI_location": {}}, ""),
        ("live_objects", {"streamId": "urn:lo:nsid:sms:1", "metadata": {"connector": "sms"}}, ""),
        ("live_objects", {"metadata": {"network": {"lora": {"messageType": "JOIN_REQUEST"}}}}, ""),
        ("wanesy", {"dataDownId": "5e", "status": "PENDING"}, "dataDownEvent"),
        ("chirpstack", {"queueItemId": ""}, "application/1/device/70b3d57ed0001234/event/txack"),
        ("chirpstack", {"code": "UPLINK_MIC", "context": {}}, "application/1/device/70b3d57ed0001234/event/log"),
        ("the_things_stack", {"downlink_sent": {"correlation_ids": ["as:downlink:01"]}}, ""),
        ("thingpark", {"DevEUI_downlink_Sent": {"DeliveryStatus": "1"}}, ""),
    ],
)
def test_what_is_no_uplink_is_ignored(kind: str, body: dict[str, Any], topic: str) -> None:
    assert isinstance(read(kind, LnsMessage(json.dumps(body).encode(), topic)), Ignored)


def test_live_objects_names_a_device_by_urns_old_and_new() -> None:
    def only_stream(body: dict[str, Any]) -> None:
        body["metadata"] = {"connector": "lora"}
        body["streamId"] = "urn:lora:70B3D57ED0001234!uplink"

    uplink = lns_uplink(SAMPLES["live_objects"], only_stream)

    assert uplink.dev_eui == HEARD.dev_eui
    assert uplink.f_cnt is None
    assert canonical(uplink, SOURCE, DEVICE, NOW_US).f_cnt >= F_CNT_END


def generic(**fields: Any) -> LnsUplink | DownlinkReport | Ignored:
    body = {"device": "867648041234567", "payload": "0a0b", "id": "m-17"} | fields
    return read("generic", LnsMessage(json.dumps(body).encode()))


def test_a_device_without_lora_is_known_by_its_imei() -> None:
    assert generic() == LnsUplink(bytes.fromhex("0867648041234567"), None, 1, b"\x0a\x0b", message_id="m-17")


@pytest.mark.parametrize(
    "time", ["2026-11-25T08:00:00Z", "2026-11-25T09:00:00.000+0100", 1795593600, "1795593600000"]
)
def test_times_of_the_generic_intake_are_texts_or_numbers(time: Any) -> None:
    uplink = generic(time=time, id="")

    assert isinstance(uplink, LnsUplink)
    assert uplink.lns_time_us == 1_795_593_600_000_000
    assert uplink.stated_time == "1795593600000000"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"device": "12"}, "no_dev_eui"),
        ({"payload": "0a0"}, "bad_payload"),
        ({"payload": "00" * 20_000}, "bad_payload"),
        ({"payload_base64": "é"}, "bad_payload"),
        ({"port": 256}, "bad_f_port"),
        ({"f_cnt": 1 << 32}, "bad_f_cnt"),
        ({"time": "hier"}, "bad_time"),
        ({"id": ""}, "no_identity"),
        ({"id": "x" * 201}, "bad_id"),
    ],
)
def test_the_generic_intake_says_what_is_wrong(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        generic(**fields)

    assert refused.value.reason == reason


def test_two_equal_readings_of_a_device_without_counter_are_two_uplinks() -> None:
    first = generic(time="2026-11-25T08:00:00Z", id="")
    second = generic(time="2026-11-25T08:05:00Z", id="")
    assert isinstance(first, LnsUplink)
    assert isinstance(second, LnsUplink)

    uplinks = [canonical(uplink, SOURCE, DEVICE, NOW_US) for uplink in (first, first, second)]

    assert uplinks[0] == uplinks[1]
    assert uplinks[0].uplink_id != uplinks[2].uplink_id
    assert uplinks[0].f_cnt != uplinks[2].f_cnt  # Ingest takes equal counters and payloads for duplicates.


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def assert_rejected_or_read(kind: str, message: LnsMessage) -> None:
    try:
        found = read(kind, message)
    except Unreadable:
        return
    if isinstance(found, LnsUplink):
        uplink = canonical(found, SOURCE, DEVICE, NOW_US)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(uplink), type=Uplink).device_id == DEVICE
        assert 0 <= uplink.f_cnt < 1 << 63
        assert -1 <= uplink.f_port < 256
        assert abs(uplink.time_us - NOW_US) < 61 * DAY_US


@pytest.mark.parametrize("kind", ADAPTERS)
@given(body=st.binary(max_size=60), topic=st.text(max_size=20))
def test_arbitrary_octets_raise_nothing_but_a_rejection(kind: str, body: bytes, topic: str) -> None:
    assert_rejected_or_read(kind, LnsMessage(body, topic))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        found += places(child, (*path, name))
    return found


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
def test_any_value_in_any_place_of_a_message_raises_nothing_but_a_rejection(
    name: str, data: st.DataObject
) -> None:
    sample = SAMPLES[name]
    message = sample.write(HEARD)
    body = json.loads(message.body)
    for path in data.draw(st.lists(st.sampled_from(places(body)), min_size=1, max_size=3)):
        holder = body
        try:
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = data.draw(JSON)
        except (KeyError, IndexError, TypeError):
            continue  # A former change replaced what it was in.

    assert_rejected_or_read(sample.kind, LnsMessage(json.dumps(body).encode(), message.topic))


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize(
    "body", [b"9" * 5000, b'{"a":' * 3000, b'{"fCnt": ' + b"9" * 5000 + b"}", b"[]", b"null", b""]
)
def test_hostile_json_is_rejected(kind: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(kind, LnsMessage(body))
