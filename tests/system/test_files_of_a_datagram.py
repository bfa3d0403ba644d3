"""How many files a reader has to open to follow one datagram in steady traffic, from the socket to the commit.

Bridge, network and ingest run in one process, and a profiler says which files' code is run between the sending of
a datagram and the commit of what it measures. What is run for most of several datagrams counts: ingest may commit
before network has finished its report. What goes on next to it, on timers or in answer, runs in tasks of its own
and does not count; nor do codecs. docs/architecture.md has the list.
"""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from types import FrameType
from typing import Any

from core.runtime.bus import connect_bus
from ingest.uplink_shards import UplinkBatch
from lorawan.crypto import SessionCipher, SessionKeys, wrap_key
from lorawan.gateway.semtech_forwarder import push_data
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.identifiers import DevAddr, GatewayId, slot_of_dev_addr
from lorawan.regions import Lora
from lorawan.session import build_uplink
from services.gateway_bridge.settings import Settings
from services.ingest import app as ingest
from services.ingest.settings import IngestSettings
from services.network import app as network
from services.network.settings import NetworkSettings
from tests.gateways.fixtures import bridge_settings, gateway_id
from tests.gateways.stations import TMST, register, running_bridge
from tests.ingest.conftest import EM400, Planted, planted, planted_in

__all__ = ["bridge_settings", "gateway_id", "planted", "planted_in"]

AT_MOST = 42
ROOT = Path(__file__).parents[2]
OURS = ("core", "gateways", "ingest", "lorawan", "network", "registry", "services")
# The tasks by which a datagram goes on, by the beginning of their names; up to its batch it is in none. `Task-` is
# a task without a name: network publishes in one. Timers and answers have tasks of their own, which on a loaded
# machine run during every datagram.
ON_THE_WAY = ("publish frames of shard", "_serve_anew of shard", "work off ", "commit a batch", "Task-")
WARM_UP, WATCHED = 6, 10
JOINED = """
UPDATE device SET slot = $2, activation = 'OTAA', app_key_wrapped = $3, kek_id = 'k' WHERE id = $1
"""
PAUSE_S = 0.3
F_PORT = 85
KEK = bytes(range(16))
KEYS = SessionKeys(bytes([0x11]) * 16, bytes([0x22]) * 16)
DEV_ADDR = DevAddr(bytes.fromhex("01020304"))
ADD_SESSION = """
INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
VALUES ($1, $2, $3, $4, 'k')
"""


@contextmanager
def executed() -> Generator[tuple[set[str], asyncio.Event]]:
    """The files of ours whose code runs meanwhile, until ingest has committed."""
    files: set[str] = set()
    committed = asyncio.Event()
    after_commit = UplinkBatch.publish.__code__

    def record_file(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call" or committed.is_set():
            return
        if frame.f_code is after_commit:
            committed.set()
        elif _is_on_the_way():
            files.add(frame.f_code.co_filename)

    sys.setprofile(record_file)
    try:
        yield files, committed
    finally:
        sys.setprofile(None)
        named = {str(Path(file).relative_to(ROOT)) for file in files if file.startswith(f"{ROOT}/")}
        files.clear()
        files |= {file for file in named if file.split("/")[0] in OURS}


def _is_on_the_way() -> bool:
    task = asyncio.current_task()
    return task is None or task.get_name().startswith(ON_THE_WAY)


def drawn() -> set[str]:
    """The names in the drawing of docs/architecture.md."""
    page = (ROOT / "docs/architecture.md").read_text()
    drawing = page.split("## One datagram, file by file")[1].split("```")[1]
    return set(re.findall(r"\w+", drawing))


@asynccontextmanager
async def whole_chain(bridge_settings: Settings) -> AsyncGenerator[None]:
    """Bridge, network and ingest, until the block ends."""
    common = {
        "database_url": bridge_settings.database_url.get_secret_value(),
        "nats_url": bridge_settings.nats_url.get_secret_value(),
        "kek": KEK.hex(),
        "instance": "a",
        "dev_status_every_h": 0,
        "adr": False,
    }
    stopping = asyncio.Event()
    async with running_bridge(bridge_settings), asyncio.TaskGroup() as tasks:
        tasks.create_task(network.run(NetworkSettings.model_validate(common), stopping))
        tasks.create_task(ingest.run(IngestSettings.model_validate(common), stopping))
        yield
        stopping.set()


def datagrams(gateway_id: GatewayId, count: int) -> list[bytes]:
    """One frame each, of one device."""
    cipher = SessionCipher(KEYS)
    frames = [build_uplink(DEV_ADDR, cipher, f_cnt, f_port=F_PORT, payload=EM400) for f_cnt in range(count)]
    rxpks = [RxPk(phy, TMST, 868_100_000, Lora(7, 125_000), -71.0, 8.25, "4/5", None, None) for phy in frames]
    return [push_data(number.to_bytes(2), gateway_id, [rxpk]) for number, rxpk in enumerate(rxpks)]


async def test_datagram_in_steady_traffic_runs_code_of_few_files(
    bridge_settings: Settings, gateway_id: GatewayId, planted: Planted, nats_url: str
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"), await planted.asset())
    pool = planted.pool
    await pool.execute(JOINED, device_id, slot_of_dev_addr(DEV_ADDR), wrap_key(KEK, bytes(16)))
    keys = wrap_key(KEK, KEYS.nwk_s_key), wrap_key(KEK, KEYS.app_s_key)
    await pool.execute(ADD_SESSION, device_id, DEV_ADDR, *keys)
    await register(pool, gateway_id)
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
    found: list[set[str]] = []

    async with whole_chain(bridge_settings):
        with socket(AF_INET, SOCK_DGRAM) as radio:
            for number, datagram in enumerate(datagrams(gateway_id, WARM_UP + WATCHED), 1):
                await asyncio.sleep(PAUSE_S)  # What follows the commit of the one before is over.
                with executed() as (files, committed):
                    radio.sendto(datagram, (bridge_settings.udp_host, bridge_settings.udp_port))
                    await asyncio.wait_for(committed.wait(), 30)
                if number > WARM_UP:
                    found.append(files)

    times = Counter(file for files in found for file in files)
    files = sorted(file for file, count in times.items() if count > WATCHED / 2)
    assert "gateways/batcher.py" in files
    assert {"network/store.py", "ingest/store.py"} <= set(files)
    assert len(files) <= AT_MOST, "\n".join(files)
    assert "network/live_frames.py" not in times  # Nobody looks.
    assert [file for file in files if Path(file).stem not in drawn()] == []
