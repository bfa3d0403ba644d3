"""Decodes stored uplinks again with another codec version (docs/decisions/0028-what-decoding-again-replaces.md).

A device and a day (UTC) are one transaction, with the job's progress in it. What is decoded is the stored payload,
by the codec that the job names, or the one that the profile has now. What goes is what stands at the frames' own
instants, and what the codec of then had made of other instants, which is found out by running it once more: codecs
return the same for the same octets.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import structlog

from core.messages.uplinks import Uplink
from core.model.quantities import QUANTITIES
from core.runtime.postgres import BAD_DATA, Pool
from decoders.catalogue import CODECS
from decoders.javascript.pool import STOPPED
from ingest.known_codecs import compiled
from ingest.pipeline import Interpreted, KnownDevice, Read, Serving, interpret
from ingest.prepare import INTERPRETED_AT_ONCE, resolve_datastreams
from ingest.redecode_store import (
    COUNT_FRAMES,
    DEVICES,
    END,
    HELD_FOR,
    KEEP,
    VERSION_CALLED,
    Day,
    NotOurs,
    StoredUplink,
    claim_job,
    read_frames,
    read_streams,
    replace_day,
)
from ingest.registry_cache import KnownDevices
from ingest.scripts import Workers, call_of
from ingest.vendor_codecs import AnyCodec, VendorCodec
from lorawan.instants import from_us
from registry.codecs import read_version
from registry.keys import KeyWrap
from registry.profiles import Decoding
from registry.redecodes import Redecode

DAY_US = 86_400_000_000
# Frames read and decoded at once; a day that has more is read whole.
AT_ONCE = 2_000
DAY_MOST = 1_000_000
ASKED_AT_ONCE = 500

log = structlog.get_logger()


class Impossible(Exception):
    """The job cannot be done; the message, in French, is its reason."""


async def redecode_next(pool: Pool, workers: Workers, owner: str, keys: KeyWrap | None = None) -> Redecode | None:
    """Run the oldest job that no process has, to its end; None when there is none. `owner` names this process;
    `keys` opens those of meters.

    Raises one of DATABASE_AWAY, or PoolUnavailable: the job goes on where it stands with the next call.
    """
    job = await claim_job(pool, owner)
    if job is None:
        return None
    log.info("redecode_began", redecode=job.id, device_id=job.reached_device_id, frames=job.frames)
    try:
        await Redecoding(pool, workers, owner, job, keys).run()
    except NotOurs:
        log.info("redecode_left", redecode=job.id)
    except (Impossible, *BAD_DATA) as impossible:
        reason = str(impossible) if isinstance(impossible, Impossible) else f"la base refuse : {impossible}"
        await pool.execute(END, job.id, owner, "failed", reason)
        log.warning("redecode_failed", redecode=job.id, reason=reason)
    else:
        await pool.execute(END, job.id, owner, "done", None)
        log.info("redecode_done", redecode=job.id)
    return job


class Redecoding:
    """One job, run by its owner."""

    def __init__(
        self, pool: Pool, workers: Workers, owner: str, job: Redecode, keys: KeyWrap | None = None
    ) -> None:
        self._pool = pool
        self._workers = workers
        self._owner = owner
        self._job = job
        self._devices = KnownDevices(pool, keys=keys)
        self._former: dict[tuple[str, int], AnyCodec | None] = {}

    async def run(self) -> None:
        """Every device, from where the job stands.

        Raises:
            NotOurs: it was cancelled, or taken over.
            Impossible: it names no codec that can run.
        """
        job = self._job
        rows = await self._pool.fetch(
            DEVICES, job.tenant_id, job.reached_device_id, job.device_id, job.device_profile_id
        )
        ids: list[int] = [row["id"] for row in rows]
        if job.frames is None:
            await self._pool.execute(COUNT_FRAMES, job.id, self._owner, ids)
        for device_id in ids:
            known = await self._devices.resolve([device_id])
            device = known.get(device_id)
            if device is not None and device.unassigned.tenant_id == job.tenant_id:
                await self._redo_device(await self._reading(device))

    async def _reading(self, device: KnownDevice) -> KnownDevice:
        """The device with the codec that the job names."""
        job = self._job
        codec = device.codec
        if job.codec is not None:
            codec = CODECS.get(job.codec)
            if codec is None:
                raise Impossible(f"le codec « {job.codec} » n'existe pas")
        elif job.codec_version_id is not None:
            codec = await self._published(device, job.codec_version_id)
        if codec is None:
            raise Impossible(f"le codec « {device.codec_name} » n'existe pas")
        if isinstance(codec, VendorCodec) and codec.suspended is not None:
            raise Impossible(codec.suspended)
        return _with(device, codec)

    async def _published(self, device: KnownDevice, version_id: int) -> AnyCodec | None:
        """A version of the registry, with the mapping that the device's profile has now."""
        version = await read_version(self._pool, version_id)
        if version is None:
            return None
        mapping = tuple(
            rule
            for codec in (device.codec, device.shadow)
            if isinstance(codec, VendorCodec)
            for rule in codec.mapping.as_json()
        )
        if version.language == "javascript" and not mapping:
            raise Impossible(f"le profil ne dit pas ce que les champs de {version.name} veulent dire (mapping)")
        try:
            return compiled(
                version, Decoding(version.name, version.id, None, mapping), device.unassigned.tenant_id
            )
        except ValueError as wrong:
            raise Impossible(f"le codec {version.name} v{version.version} est inutilisable : {wrong}") from None

    async def _redo_device(self, device: KnownDevice) -> None:
        job, device_id = self._job, device.id
        since, until = job.since, job.until
        if device_id == job.reached_device_id:
            since = max(since, job.reached_at)
        read = partial(read_frames, self._pool, device_id, only_failed=job.only_failed)
        while since < until:
            frames = await read(since, until, most=AT_ONCE)
            if not frames:
                return
            if len(frames) == AT_ONCE:
                last_day = frames[-1].time_us // DAY_US
                whole = [frame for frame in frames if frame.time_us // DAY_US < last_day]
                # What is left of the last day comes with the rest of it.
                end = min(until, from_us((last_day + 1) * DAY_US))
                frames = whole or await read(since, end, most=DAY_MOST)
            await self._redo(device, frames)
            since = from_us(frames[-1].time_us + 1)

    async def _redo(self, device: KnownDevice, frames: Sequence[StoredUplink]) -> None:
        """Decode these frames of whole days, then replace day by day."""
        uplinks = [_uplink(frame, device.id) for frame in frames]
        ours = [
            (frame, uplink)
            for frame, uplink in zip(frames, uplinks, strict=True)
            # What was another tenant's then stays as it is.
            if device.serving_at(uplink.time_us, uplink.received_at_us).tenant_id == self._job.tenant_id
        ]
        await self._learn_streams(device)
        interpreted = await self._interpreted(device, [uplink for _, uplink in ours])
        await resolve_datastreams(interpreted, self._pool)
        streams = {
            id(one.serving): {stream[0] for stream in one.serving.datastreams.values()} for one in interpreted
        }
        former = await self._former_keys(device, [frame for frame, _ in ours], [uplink for _, uplink in ours])
        made = zip(interpreted, former, strict=True)
        for day, group in groupby(made, key=lambda one: one[0].uplink.time_us // DAY_US):
            of_day = list(group)
            await replace_day(
                self._pool,
                self._job,
                self._owner,
                Day(
                    device.id,
                    [one for one, _ in of_day],
                    {one.uplink.time_us: streams[id(one.serving)] for one, _ in of_day},
                    {key for _, keys in of_day for key in keys},
                    (day + 1) * DAY_US,
                ),
            )

    async def _learn_streams(self, device: KnownDevice) -> None:
        """Read the datastreams that exist of all that the device serves."""
        servings: tuple[Serving, ...] = (*device.servings, device.unassigned)
        assets = {serving.asset_id for serving in servings if serving.asset_id is not None}
        found = await read_streams(self._pool, device.id, assets)
        for serving in servings:
            for channel, quantity, id_ in found.get((serving.asset_id, serving.position), []):
                if quantity in QUANTITIES:
                    serving.remember(channel, quantity, id_)

    async def _interpreted(self, device: KnownDevice, uplinks: Sequence[Uplink]) -> list[Interpreted]:
        """These uplinks as the device's codec decodes them."""
        reads = await self._reads(device, uplinks)
        interpreted: list[Interpreted] = []
        for place, uplink in enumerate(uplinks):
            interpreted.append(interpret(uplink, device, reads.get(uplink.uplink_id)))
            if place % INTERPRETED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return interpreted

    async def _reads(self, device: KnownDevice, uplinks: Sequence[Uplink]) -> Mapping[bytes, Read]:
        """What a vendor's script decodes from each; empty for another codec."""
        vendor = device.vendor
        reads: dict[bytes, Read] = {}
        if vendor is None:
            return reads
        for start in range(0, len(uplinks), ASKED_AT_ONCE):
            some = uplinks[start : start + ASKED_AT_ONCE]
            answers = await self._workers.call([call_of(uplink, device, vendor) for uplink in some])
            if any(answer.reason == STOPPED for answer in answers):
                raise Impossible(STOPPED)
            for uplink, answer in zip(some, answers, strict=True):
                reads[uplink.uplink_id] = partial(vendor.read, answer, uplink.time_us)
            if not await self._pool.fetchval(KEEP, self._job.id, self._owner, HELD_FOR):
                raise NotOurs(f"redecode {self._job.id}")
        return reads

    async def _former_keys(
        self, device: KnownDevice, frames: Sequence[StoredUplink], uplinks: Sequence[Uplink]
    ) -> list[set[tuple[int, int]]]:
        """For each frame the datastreams and instants of what its codec of then had made of it."""
        found: list[set[tuple[int, int]]] = [set() for _ in frames]
        of_codec: dict[tuple[str, int], list[int]] = {}
        for place, frame in enumerate(frames):
            if frame.status == "decoded" and frame.codec is not None and frame.codec_version is not None:
                of_codec.setdefault((frame.codec, frame.codec_version), []).append(place)
        for called, places in of_codec.items():
            codec = await self._codec_called(device, *called)
            if codec is None:
                continue
            try:
                said = await self._interpreted(_with(device, codec), [uplinks[place] for place in places])
            except Impossible:  # It takes too long by now; what it made of other instants stays.
                continue
            for place, one in zip(places, said, strict=True):
                found[place] = _keys_of(one)
        return found

    async def _codec_called(self, device: KnownDevice, name: str, version: int) -> AnyCodec | None:
        """The codec that an uplink names; None when it is gone, or may not run."""
        called = (name, version)
        if called not in self._former:
            native = CODECS.get(name)
            if native is not None and native.version == version:
                self._former[called] = native
            else:
                version_id = await self._pool.fetchval(VERSION_CALLED, self._job.tenant_id, name, version)
                try:
                    codec = None if version_id is None else await self._published(device, version_id)
                except Impossible:
                    codec = None
                is_suspended = isinstance(codec, VendorCodec) and codec.suspended is not None
                self._former[called] = None if is_suspended else codec
        return self._former[called]


def _with(device: KnownDevice, codec: AnyCodec) -> KnownDevice:
    return replace(device, codec=codec, vendor=codec if isinstance(codec, VendorCodec) else None)


def _keys_of(interpreted: Interpreted) -> set[tuple[int, int]]:
    """Datastream and instant of each value; a datastream that nobody has made has none."""
    streams = interpreted.serving.datastreams
    keys = {row[:2] for row in (*interpreted.rows.values(), *interpreted.history)}
    for value in interpreted.values:
        stream = streams.get((value.channel, value.quantity.name))
        if stream is not None:
            keys.add((stream[0], value.time_us))
    return keys


def _uplink(frame: StoredUplink, device_id: int) -> Uplink:
    """A stored frame as the pipeline takes it; how it was received is not asked."""
    return Uplink(
        frame.uplink_id,
        device_id,
        frame.session_id,
        frame.f_cnt,
        frame.f_port,
        frame.payload,
        False,
        frame.time_us,
        frame.received_at_us,
        0,
        0,
        0,
        False,
        [],
    )
