"""What the shard worker does for ingest: the uplinks of a message are a unit, many units a batch."""

import asyncio
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from core.messages.batch import UnreadableBatch
from core.messages.uplinks import UPLINK_BATCHES, Uplink
from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.bus import Message
from core.runtime.clock import wall_clock_us
from core.runtime.errors import describe_defect
from core.runtime.lease import Lease
from core.runtime.owned_shard import Decoded, OwnedShard
from core.runtime.postgres import BAD_DATA, ForeignKeyViolationError, Pool
from core.runtime.shard_worker import Pace, Place, ShardWorker
from core.runtime.tracing import TRACES
from ingest.batch import Prepared, UplinkMessage, quarantine_of
from ingest.pipeline import Interpreted, readable
from ingest.prepare import Registry, ask_scripts, prepare
from ingest.publishing import MeasurementPublisher
from ingest.registry_cache import KnownDevices
from ingest.scripts import Later, Reads
from ingest.settings import BatchSettings
from ingest.shadows import Shadows
from ingest.store import Store, Written
from ingest.telemetry import (
    BATCH_ROWS,
    BATCHES_REPEATED,
    LAG_SECONDS,
    MEASUREMENTS,
    PASSES_RETRIED,
    QUARANTINED,
    RECEPTIONS_SKIPPED,
    SHARDS_OWNED,
    UPLINKS,
)

# A fetch brings what has come meanwhile; asking less often costs less.
FETCH_PAUSE_S = 0.02
# Of an uplink on the bus, about.
UPLINK_OCTETS = 128
# A batch of so many uplinks waits as long as it is set to; a larger one is followed by a longer wait, because what
# comes twice within a batch is cheaper.
USUAL_UPLINKS = 200
# What the scripts of a batch have not answered within so long is set apart, and looked at again so often.
SCRIPTS_ANSWER_WITHIN_S, SCRIPTS_LOOKED_AT_EVERY_S = 0.05, 0.02
# Stages of a trace: this one, and those before it.
STAGE, OF_OURS, OF_ANOTHER_LNS = "ingest", "network", "intake"

_uplink_decoder = msgspec.msgpack.Decoder(Uplink)

log = structlog.get_logger()


@dataclass(slots=True)
class MessageUnit:
    """The uplinks of a message, or some of them, or what goes to quarantine instead.

    `reads` is what vendors' codecs have answered; None: they are to be asked.
    """

    shard: "UplinkShard"
    sequences: Sequence[int]
    message: UplinkMessage
    quarantined: list[Quarantined] = field(default_factory=list[Quarantined])
    reads: Reads | None = None

    def set_apart(self, later: Later) -> None:
        """Leave those uplinks, with copies of them, to a unit that is complete when their script has answered."""
        message, apart = self.message, later.uplinks
        if any(uplink.uplink_id in apart for uplink in message.uplinks):
            left = [uplink for uplink in message.uplinks if uplink.uplink_id in apart]
            self.message = message._replace(uplinks=[one for one in message.uplinks if one.uplink_id not in apart])
            self.shard.await_script(
                MessageUnit(self.shard, self.sequences, message._replace(uplinks=left)), later.answering
            )


class UplinkShard(OwnedShard[MessageUnit]):
    """An owned shard of UPLINKS. A message is complete at once, but for uplinks whose script takes its time."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease)
        self._units: list[MessageUnit] = []
        self._awaiting: list[tuple[MessageUnit, asyncio.Task[Reads]]] = []
        SHARDS_OWNED.inc()

    def decode(self, message: Message) -> Decoded:
        """One unit, whatever the number of its uplinks."""
        uplinks = UPLINK_BATCHES.decode(message.data)
        read = UplinkMessage(message.subject, message.sequence, uplinks)
        self._units.append(MessageUnit(self, (message.sequence,), read))
        return Decoded(len(uplinks), 1)

    def unreadable(self, message: Message, why: UnreadableBatch | None) -> MessageUnit:
        """The message in quarantine, with its reason."""
        if why is None:
            reason, detail = QuarantineReason.POISON, str(self.lease.crashes)
        else:
            reason, detail = QuarantineReason.UNREADABLE_BATCH, readable(str(why))
        entry = Quarantined(message.subject, message.sequence, reason, message.data, detail)
        nothing = UplinkMessage(message.subject, message.sequence, [])
        return MessageUnit(self, (message.sequence,), nothing, [entry])

    def await_script(self, unit: MessageUnit, answering: asyncio.Task[Reads]) -> None:
        """Hold a part of a message until its script has answered."""
        self.add_parts(unit.sequences, 1)
        self._awaiting.append((unit, answering))

    def take_units(self) -> list[MessageUnit]:
        """What scripts have answered meanwhile, and every message that was taken in."""
        awaiting, self._awaiting = self._awaiting, []
        answered: list[MessageUnit] = []
        for unit, answering in awaiting:
            if answering.done():
                unit.reads = answering.result()
                answered.append(unit)
            else:
                self._awaiting.append((unit, answering))
        units, self._units = [*answered, *self._units], []
        return units

    def due_in_s(self, _now: float) -> float | None:
        """Scripts are looked at again soon, while one of them is awaited."""
        return SCRIPTS_LOOKED_AT_EVERY_S if self._awaiting else None

    def forget(self) -> None:
        """Whoever has the shard now asks the scripts again."""
        self._awaiting.clear()
        SHARDS_OWNED.dec()


@dataclass(slots=True, repr=False)  # A traceback that shows variables would show every row.
class UplinkBatch:
    """Messages of all shards, for one transaction."""

    ingest: "Ingest"
    units: Sequence[MessageUnit]
    began_us: int = field(default_factory=wall_clock_us)
    prepared: Prepared | None = None
    written: Written | None = None

    async def prepare(self) -> None:
        """What the uplinks say, without those whose script takes its time."""
        await self._prepare(SCRIPTS_ANSWER_WITHIN_S)

    async def _prepare(self, patience_s: float | None = None) -> None:
        registry = self.ingest.registry
        unasked = [unit.message for unit in self.units if unit.reads is None]
        answers = await ask_scripts(unasked, registry, patience_s)
        for later in answers.later:
            for unit in self.units:
                unit.set_apart(later)
        for unit in self.units:
            if unit.reads is not None:
                answers.reads.update(unit.reads)
        messages = [unit.message for unit in self.units if unit.message.uplinks]
        prepared = await prepare(messages, registry, answers.reads)
        for unit in self.units:
            if unit.quarantined:
                prepared.quarantined += unit.quarantined
        self.prepared = prepared

    async def commit(self) -> None:
        """Write it, and count what became of it."""
        leases = list({id(unit.shard): unit.shard.lease for unit in self.units}.values())
        try:
            if self.prepared is None:
                await self._prepare()
            assert self.prepared is not None  # noqa: S101 - It was prepared above, or before.
            self.written = await self.ingest.store.write(leases, self.prepared)
        except ForeignKeyViolationError:
            self.ingest.registry.devices.forget_all()
            self.prepared = None
            raise
        self._count(self.prepared, self.written)

    async def publish(self) -> None:
        """Its measurements, to MEASUREMENTS."""
        assert self.prepared is not None  # noqa: S101 - It is committed.
        assert self.written is not None  # noqa: S101
        await self.ingest.publisher.publish(self.written.to_publish(self.prepared))

    def _count(self, prepared: Prepared, written: Written) -> None:
        now_us = wall_clock_us()
        for unit in self.units:
            if unit.message.uplinks:
                oldest_us = min(uplink.received_at_us for uplink in unit.message.uplinks)
                LAG_SECONDS.observe(max(0.0, (now_us - oldest_us) / 1_000_000))
        count_written(prepared, written)
        write_steps(prepared, written, self.ingest.registry.devices, self.began_us)
        if self.ingest.shadows is not None and prepared.shadowed:
            self.ingest.shadows.show(prepared.shadowed)


class Ingest:
    """Units and batches of uplinks; for a `ShardWorker`."""

    # What was remembered of the registry turned out to be gone.
    transient: tuple[type[Exception], ...] = (ForeignKeyViolationError,)

    def __init__(
        self, registry: Registry, store: Store, publisher: MeasurementPublisher, shadows: Shadows | None = None
    ) -> None:
        self.registry = registry
        self.store = store
        self.publisher = publisher
        self.shadows = shadows

    async def open_shard(self, lease: Lease) -> UplinkShard:
        """Nothing is to be known of a shard before its first message."""
        return UplinkShard(lease)

    def batch(self, units: list[MessageUnit]) -> UplinkBatch:
        """These messages in one transaction."""
        return UplinkBatch(self, units)

    def divide(self, unit: MessageUnit) -> list[MessageUnit]:
        """A unit for each uplink."""
        message = unit.message
        if len(message.uplinks) < 2:  # noqa: PLR2004 - It is one already.
            return [unit]
        return [
            MessageUnit(
                unit.shard, unit.sequences, message._replace(uplinks=[uplink], first=place), reads=unit.reads
            )
            for place, uplink in enumerate(message.uplinks)
        ]

    def place_of(self, unit: MessageUnit) -> Place | None:
        """Which uplink of its message."""
        message = unit.message
        return Place(message.sequence, message.first) if message.uplinks else None

    def rejected(self, unit: MessageUnit, error: Exception | None) -> MessageUnit | None:
        """The uplink in quarantine, with its reason."""
        message = unit.message
        if not message.uplinks:
            return None
        match error:
            case None:
                reason, detail = QuarantineReason.POISON, str(unit.shard.lease.crashes)
            case _ if isinstance(error, BAD_DATA):
                reason, detail = QuarantineReason.REFUSED_VALUE, str(error)
            case _:
                log.error("uplink_not_stored", sequence=message.sequence, exc_info=error)
                reason, detail = QuarantineReason.DEFECT, describe_defect(error)
        entries = quarantine_of(message, reason, readable(detail))
        return MessageUnit(unit.shard, unit.sequences, message._replace(uplinks=[]), entries)

    def count_retry(self, error: Exception) -> None:
        """By what failed."""
        PASSES_RETRIED.labels(type(error).__name__).inc()


def count_written(prepared: Prepared, written: Written) -> None:
    """Count what a transaction has committed."""
    batch = written.batch
    statuses = Tally(interpreted.status for interpreted in batch.uplinks)
    statuses["late"] = len(prepared.late)
    statuses["repeated"] = len(prepared.uplinks) - len(batch.uplinks)
    for status, count in statuses.items():
        if count:
            UPLINKS.labels(status).inc(count)
    for reason, count in Tally(entry.reason for entry in prepared.quarantined).items():
        QUARANTINED.labels(reason).inc(count)
    MEASUREMENTS.labels("current").inc(len(batch.measurements))
    MEASUREMENTS.labels("history").inc(len(batch.history))
    RECEPTIONS_SKIPPED.inc(batch.receptions_skipped)
    BATCHES_REPEATED.inc(written.was_repeated)
    BATCH_ROWS.observe(batch.rows())


def write_steps(prepared: Prepared, written: Written, devices: KnownDevices, began_us: int) -> None:
    """One for each uplink that is traced, and a line for each in quarantine."""
    for interpreted in written.batch.uplinks:
        if TRACES.is_traced(interpreted.uplink.trace_id):
            _step(interpreted.uplink, interpreted.status, devices, began_us, interpreted)
    for entry in prepared.quarantined:
        trace_id = trace_of(entry.data)
        log.warning(
            "quarantined", reason=entry.reason, detail=entry.detail, trace_id=trace_id, sequence=entry.sequence
        )
    for uplink in prepared.late:
        _step(uplink, "late", devices, began_us)


def trace_of(quarantined: bytes) -> str | None:
    """Of an uplink as quarantine keeps it, in hexadecimal; None: this is none, or it has no trace."""
    try:
        return _uplink_decoder.decode(quarantined).trace_id.hex() or None
    except msgspec.MsgspecError:
        return None


def _step(
    uplink: Uplink, outcome: str, devices: KnownDevices, began_us: int, of: Interpreted | None = None
) -> None:
    device = devices.known(uplink.device_id)
    TRACES.step(
        STAGE,
        uplink.trace_id,
        began_us,
        "uplink_stored",
        OF_OURS if uplink.session_id else OF_ANOTHER_LNS,
        tenant=None if device is None else device.unassigned.tenant_id,
        dev_eui=None if device is None else device.dev_eui.hex(),
        f_cnt=uplink.f_cnt,
        outcome=outcome,
        reason=None if of is None else of.reason,
        detail=None if of is None else of.detail,
    )


def worker_of(pool: Pool, ingest: Ingest, settings: BatchSettings) -> ShardWorker[MessageUnit]:
    """Reads a batch ahead, prepares one while another is written, and waits for more uplinks under load."""

    def linger_s(last_uplinks: int) -> float:
        usual_ms = settings.linger_ms
        longest_ms = max(usual_ms, settings.longest_linger_ms)
        return min(longest_ms, usual_ms * max(1.0, last_uplinks / USUAL_UPLINKS)) / 1000

    pace = Pace(
        fetch_messages=settings.fetch_messages,
        batch_items=settings.pass_uplinks,
        read_ahead=settings.pass_uplinks * UPLINK_OCTETS,
        prepare_ahead=True,
        fetch_pause_s=FETCH_PAUSE_S if settings.linger_ms else 0.0,
        linger_s=linger_s,
    )
    return ShardWorker(pool, ingest, pace)
