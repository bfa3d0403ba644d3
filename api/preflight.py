"""Explains to a technician, in French, why a downlink waits or what became of it. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from api.downlink_reasons import sentence
from core.model.downlinks import Downlink, DownlinkReason, OpenRow, Preflight, Reach
from core.model.region import PARIS

WaitsFor = Literal[
    "enabling",
    "join",
    "first_uplink",
    "uplink",
    "acknowledgement",
    "emission",
    "locked",
    "gateway",
    "duty_cycle",
    "turn",
    "nothing",
]

# After the class A windows of its last uplink a class C device listens again (network.downlink_frame).
CLASS_C_MARGIN = timedelta(seconds=1.5)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`waits_for` is None for a row that waits for nothing any more; `until` where an instant is known."""

    waits_for: WaitsFor | None
    text: str | None
    until: datetime | None = None


def explain(row: Downlink, preflight: Preflight | None, now: datetime) -> Explanation:
    """What a row waits for at this instant, or why it ended.

    Args:
        row: as it stands.
        preflight: of its device; None when the reader may not know.
        now: the instant of the question.
    """
    if row.lns_source_id is not None:
        return Explanation(None, None if row.reason is None else _reason(row))
    if row.state == "queued" and preflight is not None:
        return _queued(row, preflight, now)
    if row.state == "sending":
        return Explanation("emission", "demandé à une passerelle, réponse attendue")
    if row.state == "sent" and row.confirmed and preflight is not None:
        how = "" if preflight.reach.device_class == "C" else ", avec le prochain message montant"
        return Explanation("acknowledgement", f"émis, accusé de réception attendu{how}")
    return Explanation(None, _end(row))


def _end(row: Downlink) -> str | None:
    if row.state == "failed":
        return f"abandonné : {_reason(row)}"
    if row.state == "expired":
        is_told = row.reason not in (None, DownlinkReason.NOT_AFTER)
        return f"délai dépassé ; dernière tentative : {_reason(row)}" if is_told else "délai dépassé"
    if row.state == "cancelled" and row.reason == DownlinkReason.WITHDRAWN:
        return _reason(row)
    return None


def _queued(row: Downlink, preflight: Preflight, now: datetime) -> Explanation:
    reach = preflight.reach
    if not reach.enabled:
        return Explanation("enabling", "capteur désactivé : réactivez-le")
    if reach.heard_at is None:
        if reach.has_session or reach.activation == "ABP":
            return Explanation("first_uplink", "attend le premier message montant du capteur")
        return Explanation("join", "attend que le capteur rejoigne le réseau, puis son premier message montant")
    me = next((known for known in preflight.rows if known.id == row.id), None)
    held = _held_by(row, preflight.rows) or _rejected_until(row, me, now)
    if held is not None:
        return held
    ahead = _ahead(row, preflight.rows, now)
    if reach.device_class == "C":
        return _class_c(reach, ahead, now)
    text = "attend le prochain message montant du capteur"
    if ahead:
        text += f", après {ahead} autre{'s' if ahead > 1 else ''} message{'s' if ahead > 1 else ''}"
    if reach.gateways and not reach.gateways_online:
        text += " ; passerelle hors ligne"
    return Explanation("uplink", text)


def _held_by(row: Downlink, rows: tuple[OpenRow, ...]) -> Explanation | None:
    """One message at a time: another that is under way holds up all the others."""
    for other in rows:
        if other.id != row.id and other.state == "sent":
            return Explanation("acknowledgement", f"accusé de réception attendu du message n° {other.id}")
        if other.id != row.id and other.state == "sending":
            return Explanation("emission", f"attend l'émission du message n° {other.id}")
    return None


def _rejected_until(row: Downlink, me: OpenRow | None, now: datetime) -> Explanation | None:
    until = None if me is None else me.not_before
    if until is None or until <= now:
        return None
    at = _clock(until, now)
    match row.reason:
        case DownlinkReason.DUTY_CYCLE_OVERFLOW:
            return Explanation("duty_cycle", f"plus de temps d'émission avant {at} (limite légale)", until)
        case DownlinkReason.GATEWAY_UNREACHABLE:
            return Explanation("gateway", f"passerelle hors ligne, nouvel essai à {at}", until)
        case _:
            return Explanation("locked", f"verrouillé jusqu'à {at} : {_reason(row)}", until)


def _class_c(reach: Reach, ahead: int, now: datetime) -> Explanation:
    assert reach.heard_at is not None  # noqa: S101 - Asked before.
    listens_at = reach.heard_at + timedelta(seconds=reach.rx1_delay or 1) + CLASS_C_MARGIN
    if reach.gateways and not reach.gateways_online:
        return Explanation("gateway", "passerelle hors ligne")
    if now < listens_at:
        text = f"verrouillé jusqu'à {_clock(listens_at, now)} : fenêtres de réception du dernier message montant"
        return Explanation("locked", text, listens_at)
    if ahead:
        return Explanation("turn", f"attend son tour, après {ahead} autre{'s' if ahead > 1 else ''}")
    return Explanation("nothing", "part dans la seconde")


def _ahead(row: Downlink, rows: tuple[OpenRow, ...], now: datetime) -> int:
    """How many of the device's rows go out before this one."""
    mine = (row.priority, row.id)
    return sum(
        other.state == "queued"
        and (other.priority, other.id) < mine
        and (other.not_before is None or other.not_before <= now)
        for other in rows
    )


def _reason(row: Downlink) -> str:
    return sentence(row.reason, row.detail)


def _clock(instant: datetime, now: datetime) -> str:
    """Legal French time, to the second; with its day when that is another."""
    local, today = instant.astimezone(PARIS), now.astimezone(PARIS)
    time = f"{local:%H:%M:%S}"
    return time if local.date() == today.date() else f"{time} le {local:%d/%m/%Y}"
