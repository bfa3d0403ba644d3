"""Why a frame was rejected can be looked up, however many there were."""

import pytest
from prometheus_client import REGISTRY

from core.runtime.postgres import Pool
from network import rejections
from network.rejections import RejectionLog

GATEWAY = bytes([0xAA] * 7 + [1])
STRANGER = bytes.fromhex("01020304")


async def written(network) -> list[tuple]:
    """What is written once the service has ended, by subject and reason."""
    await network.all_acknowledged()
    await network.stop()
    rows = await network.pool.fetch("SELECT * FROM frame_refusal ORDER BY subject, reason")
    return [(row["subject"], row["reason"], row["device_id"], row["times"], row["gateway_id"]) for row in rows]


async def test_a_replay_is_written_for_its_device_and_added_up(network) -> None:
    device = await network.joined()
    old = device.uplink(b"one")
    for frame in (old, device.uplink(b"two")):
        await network.receive(frame)
        await network.next_uplink()
    await network.receive(old)
    await network.all_acknowledged()
    await network.receive(old)

    assert await written(network) == [(device.dev_addr, "replay", device.id, 2, GATEWAY)]


async def test_a_wrong_mic_is_written_for_the_one_device_with_this_dev_addr(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink()[:-4] + b"\0\0\0\0")

    assert await written(network) == [(device.dev_addr, "mic", device.id, 1, GATEWAY)]


async def test_a_frame_of_a_disabled_device_is_rejected_with_that_reason(network) -> None:
    device = await network.joined()
    await network.pool.execute("UPDATE device SET enabled = false WHERE id = $1", device.id)
    await network.stop()
    await network.start()

    await network.receive(device.uplink())

    assert await written(network) == [(device.dev_addr, "disabled", device.id, 1, GATEWAY)]


async def test_a_frame_of_an_unknown_dev_addr_is_recorded_without_a_device(network) -> None:
    device = await network.joined()
    frame = bytearray(device.uplink())
    frame[1:5] = STRANGER[::-1]

    await network.receive(bytes(frame))

    assert await written(network) == [(STRANGER, "unknown_dev_addr", None, 1, GATEWAY)]


async def test_a_join_is_written_by_its_dev_eui_whether_the_device_is_known_or_not(network) -> None:
    known, stranger = await network.device(number=1), await network.device(number=2)
    await network.pool.execute("DELETE FROM device WHERE id = $1", stranger.id)

    await network.receive(known.join()[:-4] + b"\0\0\0\0")
    await network.receive(stranger.join())

    assert await written(network) == [
        (known.dev_eui, "mic", known.id, 1, GATEWAY),
        (stranger.dev_eui, "unknown_device", None, 1, GATEWAY),
    ]


async def test_what_is_noted_between_two_saves_is_bounded_and_counted(pool: Pool, monkeypatch) -> None:
    def left_out() -> float:
        return REGISTRY.get_sample_value("territoire_network_refusals_left_out_total") or 0.0

    monkeypatch.setattr(rejections, "MOST", 3)
    noted, before = RejectionLog(pool), left_out()
    for number in range(5):
        noted.record_rejection(number.to_bytes(4), "unknown_dev_addr", 0, GATEWAY)
    noted.record_rejection(bytes(4), "unknown_dev_addr", 0, GATEWAY)  # Known already: there is room.
    await noted.save()

    assert await pool.fetch("SELECT times FROM frame_refusal ORDER BY subject") == [(2,), (1,), (1,)]
    assert left_out() == before + 2


@pytest.mark.parametrize("broken", [ConnectionRefusedError(), OSError()])
async def test_what_the_database_does_not_take_goes_with_the_next(pool: Pool, monkeypatch, broken) -> None:
    noted = RejectionLog(pool)
    noted.record_rejection(STRANGER, "unknown_dev_addr", 0, GATEWAY)

    async def is_away(*_: object) -> None:
        noted.record_rejection(STRANGER, "unknown_dev_addr", 0, GATEWAY)  # Meanwhile.
        raise broken

    with monkeypatch.context() as away:
        away.setattr(rejections, "save_rejections", is_away)
        await noted.save()
    await noted.save()

    assert await pool.fetch("SELECT times FROM frame_refusal") == [(2,)]


async def test_of_a_device_that_is_gone_two_notes_become_one_row(pool: Pool) -> None:
    noted = RejectionLog(pool)
    noted.record_rejection(STRANGER, "mic", 4711, GATEWAY)
    noted.record_rejection(STRANGER, "mic", 0, GATEWAY)

    await noted.save()

    assert await pool.fetch("SELECT device_id, times FROM frame_refusal") == [(None, 2)]
