"""Downlinks as each LNS takes them, and what it says of them, on the samples of their documentation."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from chirpstack_api import integration
from google.protobuf.json_format import MessageToJson, Parse
from hypothesis import given
from hypothesis import strategies as st

from core.model.downlinks import DownlinkReason
from integrations.lns.adapters import chirpstack, live_objects, read, the_things_stack, thingpark, wanesy
from integrations.lns.lns_downlink import (
    Answered,
    Handed,
    Later,
    LnsDownlink,
    Rejected,
    in_their_queue,
    outcome_of,
)
from integrations.lns.lns_uplink import DownlinkReport, LnsMessage

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NOW_US = 1_795_608_000_000_000
ITEM = "5f3e4d2c-8a9b-4c1d-9e2f-333344445555"
SHORT = "5F3E4D2C8A9B4C1D"
EUI = "70B3D57ED0001234"
GATEWAY = bytes.fromhex("0080e115000a9b72")


def downlink(address: str = "", item: str = ITEM, *, confirmed: bool = True) -> LnsDownlink:
    return LnsDownlink(
        7, bytes.fromhex(EUI), 85, b"\xff\x03\xb0\x04", confirmed, NOW + timedelta(hours=1), item, address
    )


def lns_report(kind: str, body: Any, topic: str = "") -> Any:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(kind, LnsMessage(octets, topic))


def test_chirpstack_reads_our_command_with_its_own_messages() -> None:
    sent = chirpstack.command(downlink("eu868/application/4a3c/device/70b3d57ed0001234"))

    command = Parse(sent.body, integration.DownlinkCommand())
    assert sent.topic == "eu868/application/4a3c/device/70b3d57ed0001234/command/down"
    assert (command.id, command.dev_eui, command.f_port) == (ITEM, EUI.lower(), 85)
    assert (command.data, command.confirmed) == (b"\xff\x03\xb0\x04", True)
    assert command.expires_at.ToDatetime(UTC) == NOW + timedelta(hours=1)


def chirpstack_event(kind: str, event: Any) -> Any:
    return lns_report(
        "chirpstack", MessageToJson(event).encode(), f"application/4a3c/device/{EUI.lower()}/event/{kind}"
    )


def test_what_chirpstack_says_of_a_queue_item_is_a_report() -> None:
    sent = integration.TxAckEvent(queue_item_id=ITEM, f_cnt_down=12, gateway_id=GATEWAY.hex())
    sent.time.FromDatetime(NOW)
    lost = integration.LogEvent(level=integration.ERROR, code=integration.DOWNLINK_PAYLOAD_SIZE)
    lost.context["queue_item_id"] = ITEM
    late = integration.LogEvent(level=integration.ERROR, code=integration.EXPIRED)
    late.context["queue_item_id"] = ITEM

    assert chirpstack_event("txack", sent) == DownlinkReport(ITEM, "sent", None, None, NOW_US, 12, GATEWAY)
    acknowledged = chirpstack_event("ack", integration.AckEvent(queue_item_id=ITEM, acknowledged=True))
    assert acknowledged.state == "acknowledged"
    assert chirpstack_event("ack", integration.AckEvent(queue_item_id=ITEM)).state == "unacknowledged"
    assert chirpstack_event("log", lost).state == "failed"
    assert chirpstack_event("log", late).state == "expired"


def test_the_things_stack_gets_the_same_push_by_mqtt_and_by_http() -> None:
    by_mqtt = the_things_stack.push(downlink("v3/bennes@ttn/devices/benne-12"))
    by_http = the_things_stack.push_call(
        downlink("bennes/benne-12"), "https://eu1.cloud.thethings.network", "NNSXS.x"
    )

    pushed = json.loads(by_mqtt.body)["downlinks"][0]
    assert by_mqtt.topic == "v3/bennes@ttn/devices/benne-12/down/push"
    assert base64.b64decode(pushed["frm_payload"]) == b"\xff\x03\xb0\x04"
    assert (pushed["f_port"], pushed["confirmed"]) == (85, True)
    assert pushed["correlation_ids"] == [f"territoire:{ITEM}"]
    assert by_http.url == (
        "https://eu1.cloud.thethings.network/api/v3/as/applications/bennes/devices/benne-12/down/push"
    )
    assert by_http.headers["authorization"] == "Bearer NNSXS.x"
    assert by_http.body == by_mqtt.body


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("downlink_queued", "sending"),
        ("downlink_sent", "sent"),
        ("downlink_ack", "acknowledged"),
        ("downlink_nack", "unacknowledged"),
    ],
)
def test_what_the_things_stack_says_of_our_correlation_id_is_a_report(name: str, state: str) -> None:
    inner = {"f_port": 85, "f_cnt": 12, "correlation_ids": ["as:downlink:01", f"territoire:{ITEM}"]}

    report = lns_report("the_things_stack", {"received_at": "2026-11-25T12:00:00.0Z", name: inner})

    assert (report.item, report.state, report.time_us) == (ITEM, state, NOW_US)
    assert report.f_cnt_down == (12 if state == "sent" else None)


def test_a_downlink_that_the_things_stack_could_not_send_says_why() -> None:
    failed = {"downlink": {"correlation_ids": [f"territoire:{ITEM}"]}, "error": {"message_format": "too long"}}

    report = lns_report("the_things_stack", {"downlink_failed": failed})

    assert (report.state, report.reason, report.detail) == ("failed", DownlinkReason.LNS_REPORTED, "too long")


def test_thingpark_gets_a_query_whose_token_covers_it() -> None:
    call = thingpark.downlink_call(downlink(item=SHORT), "https://thingpark.example", "TWA_1.1", "AB" * 16, NOW)

    parts = urlsplit(call.url)
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    covered = (
        f"DevEUI={EUI}&FPort=85&Payload=ff03b004&Confirmed=1&AS_ID=TWA_1.1&Time=2026-11-25T12:00:00.000+00:00"
        f"&CorrelationID={SHORT}"
    )
    assert (call.method, parts.path) == ("POST", "/thingpark/lrc/rest/downlink")
    assert query.pop("Token") == hashlib.sha256((covered + "ab" * 16).encode()).hexdigest()
    assert "&".join(f"{name}={value}" for name, value in query.items()) == covered
    assert "+" not in parts.query


def test_what_thingpark_says_of_our_correlation_id_is_a_report() -> None:
    report = {"Time": "2026-11-25T13:00:00.000+01:00", "DevEUI": EUI, "FPort": "85", "FCntDn": "12"}
    report |= {"CorrelationID": SHORT.lower(), "Lrrid": GATEWAY.hex().upper(), "DeliveryStatus": "1"}
    lost = report | {"DeliveryStatus": "0", "DeliveryFailedCause1": "E3", "DeliveryFailedCause2": "DA"}

    failed = lns_report("thingpark", {"DevEUI_downlink_Sent": lost})

    assert lns_report("thingpark", {"DevEUI_downlink_Sent": report}) == DownlinkReport(
        SHORT, "sent", None, None, NOW_US, 12, GATEWAY
    )
    assert failed.state == "failed"
    assert (failed.reason, failed.detail) == (DownlinkReason.LNS_REPORTED, "RX1 E3, RX2 DA")


def test_a_report_of_a_downlink_by_thingpark_is_signed_over_its_own_fields() -> None:
    body = json.dumps({"DevEUI_downlink_Sent": {"CustomerID": "1", "DevEUI": EUI, "FPort": "8", "FCntDn": "3"}})
    query = f"LrnDevEui={EUI}&AS_ID=as"
    token = hashlib.sha256(f"1{EUI}83{query}{'ab' * 16}".encode()).hexdigest()

    assert thingpark.has_valid_token(body.encode(), f"{query}&Token={token}", "AB" * 16)
    assert not thingpark.has_valid_token(body.replace("8", "9").encode(), f"{query}&Token={token}", "AB" * 16)


def test_live_objects_gets_a_command_and_is_asked_what_became_of_it() -> None:
    call = live_objects.command_call(downlink(), "https://lo.example", "key", NOW)
    asked = live_objects.status_call("60a/1", "https://lo.example", "key")

    body = json.loads(call.body)
    assert call.url == f"https://lo.example/api/v1/deviceMgt/devices/urn:lo:nsid:lora:{EUI}/commands"
    assert call.headers["x-api-key"] == "key"
    assert body["request"] == {
        "connector": "lora",
        "value": {"data": "ff03b004", "port": 85, "confirmed": True},
    }
    assert body["policy"]["expirationInSeconds"] == 3600
    assert (asked.method, asked.url) == ("GET", "https://lo.example/api/v1/deviceMgt/commands/60a%2F1/status")
    assert live_objects.item_of(Answered(200, {}, b'{"id": "60a"}')) == "60a"


@pytest.mark.parametrize(
    ("status", "confirmed", "state"),
    [
        ("PENDING", True, None),
        ("PROCESSED", True, "acknowledged"),
        ("PROCESSED", False, "sent"),
        ("SENT", True, "sent"),
        ("CANCELED", False, "failed"),
    ],
)
def test_a_status_of_live_objects_is_the_rows_state(status: str, confirmed: bool, state: str | None) -> None:
    report = live_objects.report_of(
        Answered(200, {}, json.dumps({"status": status}).encode()), "60a", confirmed=confirmed
    )

    assert (report and report.state) == state


def test_wanesy_gets_a_login_and_a_data_down_and_says_what_became_of_it() -> None:
    login = wanesy.login_call("https://wmc.example/gms", "territoire", "secret")
    call = wanesy.downlink_call(downlink(confirmed=False), "https://wmc.example/gms", "jwt", NOW)

    body = json.loads(call.body)
    assert json.loads(login.body) == {"login": "territoire", "password": "secret"}
    assert wanesy.token_of(Answered(201, {}, b'{"token": "jwt", "tokenType": "Bearer"}')) == "jwt"
    assert call.url == "https://wmc.example/gms/application/dataDown"
    assert call.headers["authorization"] == "Bearer jwt"
    assert (body["endDevice"], body["fPort"], body["payload"]) == ({"devEui": EUI}, 85, "ff03b004")
    assert (body["contentType"], body["confirmed"], body["ttl"]) == ("HEXA", False, 3600)
    assert wanesy.item_of(Answered(201, {"location": "/application/dataDown/5e32"}, b"")) == "5e32"
    assert lns_report("wanesy", {"dataDownId": "5e32", "status": "OK"}) == DownlinkReport("5e32", "sent")
    assert lns_report("wanesy", {"dataDownId": "5e32", "status": "OK", "event": "ACK"}).state == "acknowledged"
    assert lns_report("wanesy", {"dataDownId": "5e32", "status": "KO"}).state == "failed"


def test_every_http_status_hands_over_waits_or_fails() -> None:
    """In one test: five hundred cost each worker more to collect and to report than to be asked."""
    for status in range(100, 600):
        outcome = outcome_of("wanesy", Answered(status, {}, b"nope\0\n<html>"), ITEM)

        if 200 <= status < 300:
            assert outcome == Handed(ITEM), status
        elif status in {401, 403, 408, 425, 429} or status >= 500:
            said = f"{status} : nope <html>"
            assert outcome == Later(DownlinkReason.LNS_ANSWERED, f"Wanesy répond {said}", said), status
        else:
            assert outcome == Rejected(DownlinkReason.LNS_ANSWERED, f"{status} : nope <html>"), status


@given(st.binary(max_size=300))
def test_any_answer_of_an_api_can_be_read(body: bytes) -> None:
    answer = Answered(200, {}, body)

    assert isinstance(live_objects.item_of(answer), str)
    assert isinstance(wanesy.token_of(answer), str)
    assert "\0" not in answer.text


def test_a_row_in_their_queue_says_for_whom_it_waits() -> None:
    assert in_their_queue(is_class_c=False) is DownlinkReason.LNS_QUEUED_UNTIL_UPLINK
    assert in_their_queue(is_class_c=True) is DownlinkReason.LNS_QUEUED
