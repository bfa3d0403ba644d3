"""A meter's key, from where it is stored to what its telegram says; it goes nowhere else."""

import asyncio
import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
import structlog

from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from core.runtime.telemetry import configure_logs
from decoders.codec import Codec
from ingest.batch import UplinkMessage
from ingest.pipeline import Interpreted, interpret
from ingest.prepare import Registry, prepare
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.scripts import call_of
from registry.changes import POLL_S, RegistryWatcher
from registry.decoding_keys import delete_device_key, set_device_key, set_profile_key
from registry.keys import KeyWrap
from tests.ingest.conftest import KEK, Planted
from tests.ingest.test_app import Ingesting, MakeUplink, Send, UntilDrained
from tests.ingest.test_vendor_codecs import Codecs

KEYS = KeyWrap("kek-1", KEK)
OF_ANOTHER = KeyWrap("kek-2", bytes(16))
# OMS specification volume 2, annex N, N.2.1: a gas meter, 28504.27 m3; mode 5.
TELEGRAM = bytes.fromhex(
    "2e4493157856341233037a2a0020255923c95aaa26d1b2e7493b013ec4a6f6d3529b520edff0ea6defc99d6d69ebf3"
)
KEY = bytes.fromhex("0102030405060708090a0b0c0d0e0f11")
METER = "12345678"


async def set_key(pool: Pool, device_id: int, keys: KeyWrap = KEYS, key: bytes = KEY, meter_id: str = "") -> None:
    async with pool.acquire() as connection:
        await set_device_key(connection, keys, device_id, key, meter_id)


class Meters:
    """Interprets the telegram for a device as ingest would at this moment."""

    def __init__(self, planted: Planted, bus: Bus, make_uplink: MakeUplink, keys: KeyWrap | None) -> None:
        self.pool = planted.pool
        self.devices = KnownDevices(planted.pool, keys=keys)
        self._registry = Registry(planted.pool, self.devices, KnownGateways(planted.pool))
        self._watcher = RegistryWatcher(planted.pool, bus, self._registry.apply)
        self._make = make_uplink
        self._f_cnt = 0

    async def says(self, device_id: int, payload: bytes = TELEGRAM) -> Interpreted:
        self._f_cnt += 1
        await self._watcher.poll()
        uplink = self._make(device_id, self._f_cnt, payload)
        prepared = await prepare([UplinkMessage("s", self._f_cnt, [uplink])], self._registry)
        return prepared.uplinks[0]


@pytest.fixture
def meters(planted: Planted, bus: Bus, make_uplink: MakeUplink) -> Callable[..., Meters]:
    def make(keys: KeyWrap | None = KEYS) -> Meters:
        return Meters(planted, bus, make_uplink, keys)

    return make


@pytest.fixture
def logged() -> Callable[[str], StringIO]:
    """Logs as a service writes them, in this format."""

    def configure(log_format: str) -> StringIO:
        output = StringIO()
        configure_logs("ingest", "ingest-1", log_format, "DEBUG", output)
        return output

    return configure


async def volume(pool: Pool, interpreted: Interpreted) -> float | None:
    for datastream_id, _, value, _ in interpreted.rows.values():
        if await pool.fetchval("SELECT quantity FROM datastream WHERE id = $1", datastream_id) == "gas_volume":
            return value
    return None


async def test_a_key_that_is_set_replaced_and_removed_counts_at_the_next_poll(
    planted: Planted, meters: Callable[..., Meters]
) -> None:
    """A poll comes with the nudge of the API, or after so long without."""
    assert POLL_S <= 5.0
    pool, of = planted.pool, meters()
    device_id = await planted.device(await planted.profile("oms.wmbus"))
    without = await of.says(device_id)

    await set_key(pool, device_id, key=bytes(16))
    with_a_wrong_one = await of.says(device_id)
    await set_key(pool, device_id)
    read = await of.says(device_id)
    async with pool.acquire() as connection:
        await delete_device_key(connection, device_id)
    removed = await of.says(device_id)

    assert without.status == "undecodable"
    assert "le compteur 12345678 chiffre et on n'a pas sa clé" in (without.detail or "")
    assert with_a_wrong_one.status == "undecodable"
    assert "la clé de décodage n'ouvre pas ce télégramme" in (with_a_wrong_one.detail or "")
    assert read.status == "decoded"
    assert await volume(pool, read) == 28504.27
    assert removed.detail == without.detail


async def test_a_profiles_key_serves_until_the_device_has_its_own(
    planted: Planted, meters: Callable[..., Meters]
) -> None:
    pool, of = planted.pool, meters()
    profile_id = await planted.profile("oms.wmbus")
    device_id, other_id = await planted.device(profile_id), await planted.device(profile_id)
    await of.says(device_id)
    async with pool.acquire() as connection:
        await set_profile_key(connection, KEYS, planted.tenant_id, profile_id, KEY)

    by_default = await of.says(device_id)
    await set_key(pool, device_id, key=bytes(16))

    assert by_default.status == "decoded"
    assert (await of.says(device_id)).status == "undecodable"
    assert (await of.says(other_id)).status == "decoded"


async def test_each_meter_behind_a_bridge_has_its_key(planted: Planted, meters: Callable[..., Meters]) -> None:
    of, device_id = meters(), await planted.device(await planted.profile("oms.wmbus"))
    await set_key(planted.pool, device_id, key=bytes(16))
    await set_key(planted.pool, device_id, meter_id="00000001")

    of_another_meter = await of.says(device_id)
    await set_key(planted.pool, device_id, meter_id=METER)

    assert of_another_meter.status == "undecodable"
    assert (await of.says(device_id)).status == "decoded"


@pytest.mark.parametrize("keys", [KeyWrap("kek-1", bytes(16)), OF_ANOTHER, None], ids=["altered", "other", "none"])
async def test_a_key_that_does_not_open_is_the_reason_of_an_undecodable_frame(
    planted: Planted, meters: Callable[..., Meters], keys: KeyWrap | None
) -> None:
    of, device_id = meters(keys), await planted.device(await planted.profile("oms.wmbus"))
    neighbour = await planted.device(await planted.profile("milesight.em400"))
    await set_key(planted.pool, device_id)

    said = await of.says(device_id)
    beside = await of.says(neighbour, bytes.fromhex("017564"))

    assert said.status == "undecodable"
    assert "la clé de décodage ne s'ouvre pas (posée sous kek-1)" in (said.detail or "")
    assert "TERRITOIRE_KEK" in (said.detail or "")
    assert beside.status == "decoded"


async def test_what_is_not_encrypted_needs_no_key_that_opens(
    planted: Planted, meters: Callable[..., Meters]
) -> None:
    of, device_id = meters(OF_ANOTHER), await planted.device(await planted.profile("oms.wmbus"))
    await set_key(planted.pool, device_id)
    unencrypted = TELEGRAM[:13] + bytes.fromhex("0000") + bytes.fromhex("0c1427048502")
    unencrypted = bytes((len(unencrypted) - 1,)) + unencrypted[1:]

    said = await of.says(device_id, unencrypted)

    assert said.status == "decoded"
    assert await volume(planted.pool, said) == 28504.27


async def test_a_script_is_never_given_the_key(
    planted: Planted, meters: Callable[..., Meters], make_uplink: MakeUplink
) -> None:
    codecs = Codecs(planted)
    version = await codecs.version("function decodeUplink(i) { return { data: i.variables || {} }; }")
    profile_id = await codecs.profile(version)
    await planted.pool.execute('UPDATE device_profile SET codec_options = \'{"unit": "m3"}\'')
    device_id = await planted.device(profile_id)
    await set_key(planted.pool, device_id)
    await set_key(planted.pool, device_id, meter_id=METER)

    device = (await meters().devices.resolve([device_id]))[device_id]

    assert device.secret_options == {"key": KEY.hex(), "keys": {METER: KEY.hex()}}
    assert device.vendor is not None
    call = call_of(make_uplink(device_id), device, device.vendor)
    assert KEY.hex() not in repr(call)
    assert "m3" in repr(call)
    assert KEY.hex() not in repr(device)


async def test_a_device_is_read_once_whether_it_has_a_key_or_not(
    planted: Planted, meters: Callable[..., Meters], monkeypatch: pytest.MonkeyPatch
) -> None:
    of, profile_id = meters(), await planted.profile("oms.wmbus")
    device_ids = [await planted.device(profile_id) for _ in range(3)]
    await set_key(planted.pool, device_ids[0])
    for device_id in device_ids:
        await of.says(device_id)
    asked: list[str] = []
    fetch = Pool.fetch

    async def counted(pool: Pool, query: str, *given: Any) -> Any:
        asked.append(query)
        return await fetch(pool, query, *given)

    monkeypatch.setattr(Pool, "fetch", counted)
    for device_id in device_ids:
        await of.says(device_id)

    assert not [query for query in asked if "decoding_key" in query or "FROM device " in query]
    keyless = (await of.devices.resolve(device_ids))[device_ids[1]]
    assert keyless.all_options() is keyless.codec_options


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_log_has_a_key_whatever_goes_wrong(
    planted: Planted, make_uplink: MakeUplink, logged: Callable[[str], StringIO], log_format: str
) -> None:
    def defective(_f_port: int, _payload: bytes, _time_us: int, options: Any) -> Any:
        structlog.get_logger().warning("decoding", **options)
        structlog.get_logger().warning("decoding", secret_options=options)
        raise RuntimeError("defect")

    codecs = {"oms.wmbus": Codec("oms.wmbus", 1, defective)}
    device_id = await planted.device(await planted.profile("oms.wmbus"))
    await set_key(planted.pool, device_id)
    await set_key(planted.pool, device_id, meter_id=METER)
    known = await KnownDevices(planted.pool, codecs, keys=KEYS).resolve([device_id])
    printed = logged(log_format)

    said = interpret(make_uplink(device_id, 1, TELEGRAM), known[device_id])
    log = structlog.get_logger()
    log.warning("known", device=known[device_id])
    try:
        known[device_id].all_options()["absent"]
    except KeyError:
        log.exception("failed", device=repr(known[device_id]))

    assert said.status == "undecodable"
    assert "defect" in (said.detail or "")
    assert printed.getvalue().count("decoding") >= 2
    assert "KeyError" in printed.getvalue()
    assert KEY.hex() not in printed.getvalue() + (said.detail or "")


async def test_the_service_reads_a_meter_whose_key_is_set_while_it_runs(
    planted: Planted,
    ingesting: Ingesting,
    send: Send,
    make_uplink: MakeUplink,
    bus: Bus,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("oms.wmbus"))

    async def stored(f_cnt: int) -> tuple[str, str | None, str]:
        await send(make_uplink(device_id, f_cnt, TELEGRAM))
        await until_drained()
        row = await planted.pool.fetchrow(
            "SELECT status, reason, decoded::text FROM observation.uplink WHERE f_cnt = $1", f_cnt
        )
        assert row is not None
        return row["status"], row["reason"], row["decoded"] or ""

    async with ingesting():
        before = await stored(1)
        await set_key(planted.pool, device_id)
        await bus.nudge("territoire.registry", b"")
        async with asyncio.timeout(20):
            f_cnt = 2
            while (after := await stored(f_cnt))[0] != "decoded":
                f_cnt += 1

    assert before[0] == "undecodable"
    assert json.loads(after[2])["meter_id"] == METER
    assert KEY.hex() not in str(await planted.pool.fetch("SELECT u::text FROM observation.uplink u"))


async def test_the_service_under_a_wrong_kek_goes_on(
    planted: Planted, ingesting: Ingesting, send: Send, make_uplink: MakeUplink, until_drained: UntilDrained
) -> None:
    meter = await planted.device(await planted.profile("oms.wmbus"))
    bin_ = await planted.device(await planted.profile("milesight.em400"))
    await set_key(planted.pool, meter)

    async with ingesting(kek="ff" * 32, kek_id="kek-2"):
        await send(make_uplink(meter, 1, TELEGRAM), make_uplink(bin_, 2))
        await until_drained()

    rows = await planted.pool.fetch("SELECT status, reason, detail FROM observation.uplink ORDER BY f_cnt")
    assert [row["status"] for row in rows] == ["undecodable", "decoded"]
    assert rows[0]["reason"] == "unreadable"
    assert rows[0]["detail"] == (
        "la clé de décodage ne s'ouvre pas (posée sous kek-1) avec kek-2 : "
        "rétablissez TERRITOIRE_KEK, ou posez la clé de nouveau"
    )
