"""`territoire codec failed|redecode|redecodes` against a real API, with the job done beside it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from cli.codec_redecode import show_failed
from core.runtime.postgres import Pool
from ingest.redecode import redecode_next
from ingest.workers import NoWorkers
from tests.cli.test_codec_lab import Api, api

__all__ = ["api"]
EM400 = bytes.fromhex("01755c0367010104824408050001")
DEV_EUI = "70b3d57ed0000042"


@pytest.fixture
async def device(api: Api, pool: Pool) -> str:
    """With three frames that its profile's codec could not read."""
    profile = await pool.fetchval("UPDATE device_profile SET codec = 'inconnu' RETURNING id")
    device_id = await pool.fetchval(
        "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
        "SELECT tenant_id, $2, $2, 'Benne 1', id, 0, 'ABP' FROM device_profile WHERE id = $1 RETURNING id",
        profile,
        bytes.fromhex(DEV_EUI),
    )
    for hours in (1, 2, 3):
        at = datetime.now(UTC) - timedelta(hours=hours)
        await pool.execute(
            "INSERT INTO observation.uplink (device_id, time, uplink_id, f_cnt, f_port, payload, received_at, "
            "status, reason, codec) "
            "VALUES ($1, $2, $3, $4, 85, $5, $2, 'undecodable', 'unknown_codec', 'inconnu')",
            device_id, at, uuid4(), hours, EM400,
        )  # fmt: skip
    return DEV_EUI


async def test_failed_frames_are_shown_and_decoded_again_from_the_terminal(
    api: Api, device: str, pool: Pool
) -> None:
    table = await api.codec("failed")
    assert table.returncode == 0, table.stderr
    assert all(text in table.stdout for text in (device, "Benne 1", "inconnu", "3"))

    waiting = asyncio.create_task(
        api.codec("redecode", "--device", device, "--codec", "milesight.em400", "--json")
    )
    async with asyncio.timeout(60):
        while await redecode_next(pool, NoWorkers(), "m1") is None:  # noqa: ASYNC110 - The command asks for it.
            await asyncio.sleep(0.05)
    done = await waiting

    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["state"], job["frames"], job["frames_decoded"], job["values_written"]) == ("done", 3, 3, 12)
    assert (await api.codec("failed")).stdout.strip() == "Aucune trame illisible."
    assert "terminé" in (await api.codec("redecodes")).stdout


def test_failed_frames_show_whole_device_euis_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    item = {
        "dev_eui": DEV_EUI,
        "device_name": "Conteneur de la rue des Écoles",
        "codec": "actility.long-vendor.long-model-of-a-codec",
        "codec_version": 12,
        "frames": 123456,
        "last_at": "2026-11-25T17:50:57Z",
        "reason": "raison " * 30,
    }

    show_failed([item])

    lines = capsys.readouterr().out.splitlines()
    assert any(DEV_EUI in line for line in lines)
    assert max(len(line) for line in lines) <= 80


async def test_a_job_is_left_to_itself_and_cancelled(api: Api, device: str) -> None:
    asked = await api.codec("redecode", "--device", device, "--codec", "milesight.em400", "--detach", "--json")
    number = json.loads(asked.stdout)["id"]

    cancelled = await api.codec("redecode", "--cancel", str(number), "--json")

    assert asked.returncode == cancelled.returncode == 0
    assert json.loads(cancelled.stdout)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("redecode",), "donnez --device, --profile ou --everything"),
        (("redecode", "--device", "ab" * 8), "pas de capteur abababababababab"),
        (("redecode", "--everything", "--codec", "milesight.em400"), "pour un capteur ou pour un profil"),
        (("redecode", "--cancel", "99"), "nouveau décodage 99"),
    ],
)
async def test_what_is_rejected_ends_with_2(api: Api, arguments: tuple[str, ...], said: str) -> None:
    done = await api.codec(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
