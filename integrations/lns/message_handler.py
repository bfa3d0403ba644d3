"""Handles one message of a source, from MQTT or HTTP alike."""

from dataclasses import dataclass
from enum import StrEnum

import structlog

from core.model.identities import new_trace
from core.runtime.tracing import TRACES
from integrations.lns.adapters import read
from integrations.lns.canonical import canonical
from integrations.lns.downlink_reports import Reports
from integrations.lns.lns_uplink import DownlinkReport, Ignored, LnsMessage, LnsUplink, Unreadable
from integrations.lns.source_registry import Devices
from integrations.lns.source_stats import SourceStats
from integrations.lns.uplink_publisher import Publisher
from registry.lns_sources import Source

# The sender is no LNS of the source's kind: it is answered with an error, and need not send the message again.
WRONG_BODIES = frozenset({"not_json", "not_an_object", "not_this_lns"})
STAGE = "intake"

log = structlog.get_logger()


class Result(StrEnum):
    """The result of a message."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"
    WRONG_BODY = "wrong_body"
    UNKNOWN_DEVICE = "unknown_device"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of a message; `french` says why it became no uplink."""

    result: Result
    french: str = ""


@dataclass(frozen=True, slots=True)
class Reception:
    """Reads messages, finds devices, publishes uplinks, saves reports, and counts the results."""

    devices: Devices
    publisher: Publisher
    source_stats: SourceStats
    reports: Reports

    async def handle_message(self, source: Source, message: LnsMessage, received_at_us: int) -> Taken:
        """Return when the message is done with: an uplink is in the stream, anything else is counted or saved.

        Raises one of DATABASE_AWAY, or TooMuchWaiting: the message has to be sent again.
        """
        try:
            foreign = read(source.kind, message)
        except Unreadable as unreadable:
            return self._unread(source, message, unreadable.reason, unreadable.french)
        except Exception as defect:
            log.exception("message_not_read", source=source.id, kind=source.kind)
            return self._unread(source, message, "defect", f"défaut de l'adaptateur : {type(defect).__name__}")
        match foreign:
            case Ignored(kind):
                self.source_stats.ignored(source, kind)
                return Taken(Result.IGNORED)
            case DownlinkReport():
                is_ours = await self.reports.save_report(source, foreign)
                self.source_stats.ignored(source, "report" if is_ours else "report_of_nothing_open")
                return Taken(Result.ACCEPTED if is_ours else Result.IGNORED)
            case LnsUplink():
                return await self._uplink(source, foreign, received_at_us)

    async def _uplink(self, source: Source, lns_uplink: LnsUplink, received_at_us: int) -> Taken:
        device = await self.devices.find(source.tenant_id, lns_uplink.dev_eui)
        name = lns_uplink.dev_eui.hex()
        if device is None:
            self.source_stats.unknown(source, lns_uplink.dev_eui)
            return Taken(Result.UNKNOWN_DEVICE, f"capteur {name} inconnu de cette collectivité")
        if not device.enabled:
            french = f"capteur {name} désactivé"
            self.source_stats.record_rejection(source, "disabled", french)
            return Taken(Result.DISABLED, french)
        if lns_uplink.address:
            self.source_stats.route(source, device.id, lns_uplink.address)
        uplink = canonical(lns_uplink, source.id, device.id, received_at_us, new_trace())
        await self.publisher.publish(uplink, device.slot)
        self.source_stats.accepted(source)
        TRACES.step(
            STAGE, uplink.trace_id, received_at_us, "uplink_taken", None,
            tenant=source.tenant_id, dev_eui=name, source=source.id, outcome="accepted",
        )  # fmt: skip
        return Taken(Result.ACCEPTED)

    def _unread(self, source: Source, message: LnsMessage, reason: str, french: str) -> Taken:
        self.source_stats.unread(source, reason, french, message.body)
        return Taken(Result.WRONG_BODY if reason in WRONG_BODIES else Result.UNREADABLE, french)
