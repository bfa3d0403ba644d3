import pytest

from core.runtime.postgres import Pool
from registry.rejections import RejectionSeen, save_rejections

GATEWAY = bytes.fromhex("0080e115000a9b72")
DEV_ADDR = "01ab23cd"
AT_US = 1_795_600_000_000_000  # 2026-11-25T09:46:40Z


def seen(subject: str, reason: str, device_id: int = 0, *, at_us: int = AT_US) -> RejectionSeen:
    return RejectionSeen(bytes.fromhex(subject), reason, device_id, GATEWAY, at_us, at_us, 1)


async def id_of(pool: Pool, device) -> int:
    return await pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"]))


async def test_a_devices_rejections_are_listed_with_what_they_mean_the_last_first(
    client, registry, pool: Pool
) -> None:
    device = await registry.device()
    device_id = await id_of(pool, device)
    await save_rejections(
        pool, [seen(DEV_ADDR, "replay", device_id), seen(device["dev_eui"], "mic", at_us=AT_US + 1)]
    )
    await save_rejections(pool, [seen(DEV_ADDR, "replay", device_id, at_us=AT_US + 60_000_000)])

    items = (await client.get(f"/v1/devices/{device['dev_eui']}/refusals")).json()["items"]

    replay, mic = items
    assert replay == {
        "dev_eui": None,
        "dev_addr": DEV_ADDR,
        "reason": "replay",
        "explanation": "Compteur déjà dépassé : trame rejouée, ou capteur ABP qui a redémarré son compteur.",
        "times": 2,
        "first_at": "2026-11-25T09:46:40Z",
        "last_at": "2026-11-25T09:47:40Z",
        "gateway_id": GATEWAY.hex(),
    }
    assert (mic["dev_eui"], mic["dev_addr"], mic["reason"]) == (device["dev_eui"], None, "mic")


async def test_what_was_rejected_before_the_device_was_registered_is_shown_to_its_owner(
    client, registry, pool: Pool
) -> None:
    dev_eui = "70b3d57ed0009999"
    await save_rejections(pool, [seen(dev_eui, "unknown_device")])
    await registry.device(dev_eui=dev_eui)

    items = (await client.get(f"/v1/devices/{dev_eui}/refusals")).json()["items"]

    assert [item["reason"] for item in items] == ["unknown_device"]


async def test_rejections_of_anothers_device_are_seen_by_nobody_else(
    client, other_registry, pool: Pool, api_pool: Pool
) -> None:
    device = await other_registry.device()
    await save_rejections(pool, [seen(DEV_ADDR, "mic", await id_of(pool, device))])

    answer = await client.get(f"/v1/devices/{device['dev_eui']}/refusals")
    strangers = (await client.get("/v1/refusals")).json()["items"]

    assert answer.status_code == 404
    assert strangers == []
    assert await api_pool.fetchval("SELECT count(*) FROM frame_refusal") == 0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["70b3d57ed0009999", DEV_ADDR]),
        ({"dev_eui": "70B3D57ED0009999"}, ["70b3d57ed0009999"]),
        ({"dev_addr": DEV_ADDR}, [DEV_ADDR]),
        ({"dev_addr": "ffffffff"}, []),
    ],
)
async def test_the_operator_finds_rejections_of_unknown_devices_by_dev_eui_or_dev_addr(
    client, pool: Pool, query, expected
) -> None:
    await save_rejections(
        pool, [seen(DEV_ADDR, "unknown_dev_addr"), seen("70b3d57ed0009999", "unknown_device", at_us=AT_US + 1)]
    )

    items = (await client.get("/v1/refusals", params=query)).json()["items"]

    assert [item["dev_eui"] or item["dev_addr"] for item in items] == expected


async def test_one_of_dev_eui_and_dev_addr_is_asked_for(client) -> None:
    answer = await client.get("/v1/refusals", params={"dev_eui": "70b3d57ed0009999", "dev_addr": DEV_ADDR})

    assert answer.status_code == 422
