"""Looking at the radio over the API: what a key may see is decided here, what is shown comes over the bus."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from core.messages import topics
from core.messages.live_frames import NO_MORE_LOOKS, LiveFrame, LiveReception, Look, decode_look, encode_live
from core.runtime.bus import Bus

GATEWAY = "0016c001ff10a235"


@pytest.fixture
async def looks(bus: Bus) -> AsyncGenerator[list[Look]]:
    """Every look that is opened, which a network answers with one frame."""
    opened: list[Look] = []

    async def show(_subject: str, data: bytes) -> None:
        look = decode_look(data)
        opened.append(look)
        receptions = [LiveReception(bytes.fromhex(GATEWAY), -90.0, 7.5)]
        frame = LiveFrame(
            "data_up", 1_795_597_200_123_456, "accepted", 23, 868_100_000, 7, receptions,
            dev_eui=b"\1" * 8, dev_addr=b"\1\2\3\4", f_cnt=7, f_port=2, left_out=3,
            phy_payload=bytes.fromhex("404732220180020002fb8a1e2c41"),
        )  # fmt: skip
        await bus.nudge(topics.live_frames(look.id), encode_live(frame))

    subscription = await bus.subscribe(topics.LIVE_LOOKS, show)
    yield opened
    await subscription.unsubscribe()


async def test_frames_are_shown_while_a_request_looks(client, looks: list[Look]) -> None:
    shown: dict = {"items": []}
    async with asyncio.timeout(60):
        while not shown["items"]:
            shown = (await client.get("/v1/live-frames")).json()

    assert shown["left_out"] == 3
    assert shown["items"] == [
        {
            "kind": "data_up",
            "at": "2026-11-25T09:00:00.123456Z",
            "outcome": "accepted",
            "octets": 23,
            "frequency": 868_100_000,
            "spreading_factor": 7,
            "receptions": [{"gateway_id": GATEWAY, "rssi": -90.0, "snr": 7.5}],
            "hidden": False,
            "dev_eui": "01" * 8,
            "dev_addr": "01020304",
            "f_cnt": 7,
            "f_port": 2,
            "phy_payload": "404732220180020002fb8a1e2c41",
            "lines": [
                {"name": "MHDR", "value": "40 UnconfirmedDataUp"},
                {"name": "DevAddr", "value": "01223247"},
                {"name": "FCtrl", "value": "ADR FOptsLen=0"},
                {"name": "FCnt", "value": "2"},
                {"name": "FPort", "value": "2"},
                {"name": "FRMPayload", "value": "1 B fb"},
                {"name": "MIC", "value": "8a1e2c41"},
            ],
        }
    ]


async def test_a_key_looks_as_its_own_tenant_with_its_own_gateways_and_an_operator_as_one(
    client_with, tenancy, other_tenancy, registry, other_registry, looks: list[Look]
) -> None:
    await registry.gateway(gateway_id=GATEWAY)
    await other_registry.gateway(gateway_id="0016c001ff10a236")

    async with client_with("read") as reader, client_with("read", "operate") as operator:
        for one in (reader, operator):
            async with asyncio.timeout(60):
                opened = len(looks)
                while len(looks) == opened:
                    assert (await one.get("/v1/live-frames", params={"seconds": 0.2})).status_code == 200

    assert [looks[0].is_operator, looks[-1].is_operator] == [False, True]
    for look in looks:
        assert (look.tenant_ids, look.gateway_ids) == ([tenancy.id], [bytes.fromhex(GATEWAY)])


async def test_a_syndicat_looks_at_its_members_devices_and_not_the_other_way_round(
    client, other_client, tenancy, other_tenancy, looks: list[Look]
) -> None:
    joined = await other_client.put(f"/v1/tenants/{other_tenancy.id}/member-of", json={"tenant_id": tenancy.id})
    assert joined.status_code == 200, joined.text

    for one in (client, other_client):
        opened = len(looks)
        async with asyncio.timeout(60):
            while len(looks) == opened:
                await one.get("/v1/live-frames", params={"seconds": 0.2})

    assert looks[0].tenant_ids == [tenancy.id, other_tenancy.id]
    assert looks[-1].tenant_ids == [other_tenancy.id]


async def test_anothers_device_and_gateway_do_not_exist(
    client, client_with, other_registry, looks: list[Look]
) -> None:
    theirs = await other_registry.device()
    gateway = await other_registry.gateway()

    device = await client.get("/v1/live-frames", params={"dev_eui": theirs["dev_eui"]})
    async with client_with("read") as reader:
        of_gateway = await reader.get("/v1/live-frames", params={"gateway_id": gateway["gateway_id"]})

    assert (device.status_code, of_gateway.status_code) == (404, 404)
    assert looks == []


async def test_a_look_beyond_those_of_a_tenant_is_rejected_and_says_so(client, bus: Bus) -> None:
    async def reject(_subject: str, data: bytes) -> None:
        await bus.nudge(topics.live_frames(decode_look(data).id), NO_MORE_LOOKS)

    subscription = await bus.subscribe(topics.LIVE_LOOKS, reject)
    answer = await client.get("/v1/live-frames")
    async with asyncio.timeout(60):
        while answer.status_code == 200:  # The bus has not carried it in time.
            answer = await client.get("/v1/live-frames")
    await subscription.unsubscribe()

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert "sont déjà suivies à huit endroits" in answer.json()["detail"]
