"""Events that waited for a partner's broker when the program was exchanged reach it in ChirpStack's form."""

from typing import Any

import pytest

from tests.contracts.partner_rig import Partner

ROW = """
INSERT INTO observation.application_event (application_id, device_id, kind, time, what)
VALUES ($1, $2, $3, '2026-11-25 09:00:00.123456+00', $4::text::jsonb)
"""
DOWNLINK = '{"downlink": 4711, "f_cnt_down": 70001, "gateway_id": "0016c001ff10a235", "state": "%s", "reason": %s}'
ITEM = "c18f26d3-d5a3-5ea4-bf56-4637f5d3f670"  # Of downlink 4711, which no application has named.
AT = "2026-11-25T09:00:00.123456Z"
# The event as it is published, but for who it is about and the identities that are made anew with every event.
EXPECTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "join": ("join", '{"dev_addr": "0135abcd"}', {"devAddr": "0135abcd", "regionConfigId": "eu868"}),
    "status": ("status", '{"battery": 127, "margin": -7}', {"margin": -7, "batteryLevel": 50.0}),
    "sent": (
        "txack",
        DOWNLINK % ("sent", "null"),
        {"downlinkId": 4711, "queueItemId": ITEM, "fCntDown": 70_001, "gatewayId": "0016c001ff10a235"},
    ),
    "acknowledged": (
        "ack",
        DOWNLINK % ("acknowledged", "null"),
        {"queueItemId": ITEM, "acknowledged": True, "fCntDown": 70_001},
    ),
    "not acknowledged": ("ack", DOWNLINK % ("failed", '"NO_ACK"'), {"queueItemId": ITEM, "fCntDown": 70_001}),
    "failed": (
        "log",
        DOWNLINK % ("failed", '"NO_GATEWAY"'),
        {
            "level": "ERROR",
            "code": "DOWNLINK_GATEWAY",
            "description": "NO_GATEWAY",
            "context": {"queue_item_id": ITEM},
        },
    ),
    "expired": (
        "log",
        DOWNLINK % ("expired", '"NOT_AFTER"'),
        {"level": "ERROR", "code": "EXPIRED", "description": "NOT_AFTER", "context": {"queue_item_id": ITEM}},
    ),
}


@pytest.mark.parametrize("case", EXPECTED)
async def test_queued_event_of_today_is_published(partner: Partner, case: str) -> None:
    kind, what, expected = EXPECTED[case]
    await partner.bench.pool.execute(ROW, partner.application, partner.device_id, kind, what)

    async with partner.bench.intake():
        (event,) = await partner.collect(kind)

    about = event.pop("deviceInfo")
    event.pop("deduplicationId", None)
    assert event == expected | {"time": AT}
    assert about["devEui"] == partner.heard.dev_eui.hex()
