"""How a sensor is: what is wrong with it, and what cannot be known. Pure; the instant is an argument.

Limits that alerts have, too, are those of the rules that a tenant begins with (`Limits`). What cannot be judged is
said to be unknown, and never well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations, pairwise
from statistics import median
from typing import Literal

from alerting.rules.forecast import LEAST_POINTS, MOST_POINTS, NEW_BEGINNING
from alerting.rules.frame_loss import OVER, lost_percent
from core.model.frame_loss import CountedUplink, Span
from core.model.unknown_time import known_for
from lorawan.regions.region import REQUIRED_SNR


class Cause(StrEnum):
    """What is wrong with a sensor, the gravest first."""

    NEVER_HEARD = "never_heard"
    SILENT = "silent"
    CODEC_FAILING = "codec_failing"
    MISCONFIGURED = "misconfigured"
    LOSING = "losing"
    WEAK = "weak"
    LOW_BATTERY = "low_battery"
    FLAT = "flat"


CauseName = Literal[
    "never_heard", "silent", "codec_failing", "misconfigured", "losing", "weak", "low_battery", "flat"
]
CAUSES_FR: Mapping[Cause, str] = {
    Cause.NEVER_HEARD: "jamais entendu",
    Cause.SILENT: "muet",
    Cause.CODEC_FAILING: "messages illisibles",
    Cause.MISCONFIGURED: "mal configuré",
    Cause.LOSING: "perd des messages",
    Cause.WEAK: "signal faible",
    Cause.LOW_BATTERY: "pile faible",
    Cause.FLAT: "valeur figée",
}
# Below this much above what its data rate needs, rain or a parked lorry is enough to lose it.
WEAK_MARGIN_DB = 3.0
# Of a network that does not say the data rate: close to what a receiver of 125 kHz hears at SF7 (-123 dBm).
WEAK_RSSI_DBM = -120.0
# Fewer receptions say nothing.
LEAST_RECEPTIONS = 3
LEAST_FLAT_READINGS = 8
# Quantities that never stand still for two days.
NEVER_STILL = ("temperature", "relative_humidity", "co2", "pressure", "sound_level")
# A battery whose end is nearer is changed on the next round.
BATTERY_NOTICE = timedelta(days=60)
# Farther ahead a straight line says nothing.
FORESEEN_WITHIN = timedelta(days=5 * 365)
LEAST_BATTERY_SPAN = timedelta(days=14)
# Between messages, compared with the interval of its profile.
FAR_TOO_OFTEN, FAR_TOO_RARELY = 0.25, 1.5
LEAST_UPLINKS = 5
COUNTED_INTERVALS, COUNTED_MOST = 24, timedelta(days=30)
# A frame that cannot be read now and then is noise.
UNREADABLE_SHARE = 0.1
UNREADABLE = frozenset({"unknown_codec", "unreadable", "codec_failed", "codec_suspended", "no_workers", "other"})
UNMAPPED = frozenset({"no_mapping", "no_rule_applies", "to_confirm", "no_usable_value"})
UNMAPPED_FR = "le profil ne tire aucune mesure de ses messages : compléter sa correspondance"
REJECTIONS_FR: Mapping[str, str] = {
    "mic": "sa clé n'est pas celle qui est enregistrée",
    "not_otaa": "il demande à rejoindre le réseau et n'a pas de clé ici",
    "dev_nonce_used": "il redemande à rejoindre avec un numéro déjà servi",
    "dev_nonce_not_increasing": "il redemande à rejoindre avec un numéro déjà dépassé",
    "replay": "son compteur de messages est reparti en arrière",
    "wrong_kek": "sa clé ne s'ouvre pas",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rules that a tenant begins with say."""

    loss_percent: float
    battery_percent: float
    flat_for: timedelta


@dataclass(frozen=True, slots=True)
class ReceivedUplink:
    """An uplink, and its best reception, where there is one."""

    at: datetime
    status: str  # decoded, empty, undecodable
    reason: str | None = None
    spreading_factor: int | None = None
    rssi: float | None = None
    snr: float | None = None
    gateway: str | None = None
    received_at: datetime | None = None
    """Later than `at`, of one that was kept by the device."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """The readings of one quantity in the last `Limits.flat_for`: how many, and between what."""

    quantity: str
    readings: int
    lowest: float
    highest: float
    first_at: datetime


@dataclass(frozen=True, slots=True)
class SensorFacts:
    """What is stored of a sensor. `since`: it is where it is."""

    since: datetime
    expected_interval: timedelta
    heard: Sequence[ReceivedUplink] = ()
    """The last ones, the last first."""
    frames: Sequence[CountedUplink] = ()
    """Of `counted_over`, in the order of time: losses are counted by them."""
    outages: Sequence[Span] = ()
    battery: Sequence[tuple[datetime, float]] = ()
    """Percent by day, in the order of time."""
    reported_battery: float | None = None
    """Percent, by LoRaWAN's own question."""
    is_battery_low: bool | None = None
    """By the device's own word."""
    is_mains_powered: bool = False
    frozen: Sequence[Frozen] = ()
    rejections: Sequence[str] = ()
    """Codes of rejections of its frames, the last first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in French."""

    cause: Cause
    text: str


@dataclass(slots=True)
class SensorHealth:
    """How a sensor is; None: it is not known."""

    findings: list[Finding] = field(default_factory=list[Finding])
    unknown: list[Cause] = field(default_factory=list[Cause])
    last_heard_at: datetime | None = None
    margin_db: float | None = None
    rssi: float | None = None
    snr: float | None = None
    gateway: str | None = None
    lost_percent: float | None = None
    unreadable_percent: float | None = None
    battery_percent: float | None = None
    battery_ends_at: datetime | None = None

    @property
    def causes(self) -> list[Cause]:
        """What is wrong, the gravest first."""
        return [one for one in Cause if any(found.cause == one for found in self.findings)]


def counted_over(expected_interval: timedelta) -> timedelta:
    """Over which time losses are counted: a day, as by the rules, and longer where a day has too few messages."""
    return min(max(OVER, COUNTED_INTERVALS * expected_interval), COUNTED_MOST)


def judge(facts: SensorFacts, limits: Limits, now: datetime) -> SensorHealth:
    """How the sensor is at `now`."""
    health = SensorHealth(last_heard_at=max((one.received_at or one.at for one in facts.heard), default=None))
    is_due = now - max(facts.since, health.last_heard_at or facts.since) > known_for(facts.expected_interval)
    if health.last_heard_at is None:
        if is_due:
            _find(health, Cause.NEVER_HEARD, f"jamais entendu depuis sa pose, {_ago(now - facts.since)}")
        else:
            health.unknown.append(Cause.NEVER_HEARD)
    elif is_due:
        quiet = now - health.last_heard_at
        _find(
            health, Cause.SILENT, f"muet depuis {_ago(quiet)}, attendu toutes les {_ago(facts.expected_interval)}"
        )
    _judge_reading(facts, health)
    _judge_settings(facts, health)
    _judge_frame_loss(facts, limits, health)
    _judge_radio(facts, health)
    _judge_battery(facts, limits, health, now)
    _judge_values(facts, limits, health, now)
    return health


def _find(health: SensorHealth, cause: Cause, text: str) -> None:
    health.findings.append(Finding(cause, text))


def _judge_reading(facts: SensorFacts, health: SensorHealth) -> None:
    if not facts.heard:
        health.unknown.append(Cause.CODEC_FAILING)
        return
    failed = [one for one in facts.heard if one.status == "undecodable" and one.reason not in UNMAPPED]
    share = len(failed) / len(facts.heard)
    health.unreadable_percent = round(100 * share, 1)
    if failed and (failed[0] is facts.heard[0] or share >= UNREADABLE_SHARE):
        _find(
            health, Cause.CODEC_FAILING, f"{len(failed)} messages illisibles sur les {len(facts.heard)} derniers"
        )


def _judge_settings(facts: SensorFacts, health: SensorHealth) -> None:
    for code in dict.fromkeys(facts.rejections):
        if code in REJECTIONS_FR:
            _find(health, Cause.MISCONFIGURED, REJECTIONS_FR[code])
    if facts.heard and facts.heard[0].reason in UNMAPPED:
        _find(health, Cause.MISCONFIGURED, UNMAPPED_FR)
    if len(facts.heard) < LEAST_UPLINKS:
        if not facts.rejections:
            health.unknown.append(Cause.MISCONFIGURED)
        return
    usual = timedelta(
        seconds=median((later.at - earlier.at).total_seconds() for later, earlier in pairwise(facts.heard))
    )
    # What was lost in between makes the pace of what arrives slower than that of what is sent.
    ratio = usual / facts.expected_interval
    if ratio < FAR_TOO_OFTEN or (ratio > FAR_TOO_RARELY and not _has_gaps(facts)):
        wanted = _ago(facts.expected_interval)
        _find(health, Cause.MISCONFIGURED, f"un message toutes les {_ago(usual)} au lieu de {wanted}")


def _has_gaps(facts: SensorFacts) -> bool:
    return any(
        later.session == earlier.session and later.f_cnt > earlier.f_cnt + 1
        for earlier, later in pairwise(facts.frames)
    )


def _judge_frame_loss(facts: SensorFacts, limits: Limits, health: SensorHealth) -> None:
    percent = lost_percent(facts.frames, facts.outages)
    if percent is None:
        health.unknown.append(Cause.LOSING)
        return
    health.lost_percent = round(percent, 1)
    if percent > limits.loss_percent:
        _find(health, Cause.LOSING, f"{percent:.0f} % des messages perdus")


def _judge_radio(facts: SensorFacts, health: SensorHealth) -> None:
    received = [one for one in facts.heard if one.rssi is not None and one.snr is not None]
    if received:
        best = max(received, key=lambda one: one.snr or 0.0)
        health.gateway = best.gateway
    if len(received) < LEAST_RECEPTIONS:
        health.unknown.append(Cause.WEAK)
        return
    health.rssi = round(median(one.rssi for one in received if one.rssi is not None), 1)
    health.snr = round(median(one.snr for one in received if one.snr is not None), 1)
    margins = [
        one.snr - required
        for one in received
        if one.snr is not None and (required := REQUIRED_SNR.get(one.spreading_factor or 0)) is not None
    ]
    if margins:
        health.margin_db = round(median(margins), 1)
        if health.margin_db < WEAK_MARGIN_DB:
            _find(
                health,
                Cause.WEAK,
                f"entendu avec {_number(health.margin_db)} dB de marge, RSSI {health.rssi:.0f} dBm",
            )
    elif health.rssi < WEAK_RSSI_DBM:
        _find(health, Cause.WEAK, f"entendu à {health.rssi:.0f} dBm")


def _judge_battery(facts: SensorFacts, limits: Limits, health: SensorHealth, now: datetime) -> None:
    if facts.is_mains_powered:
        return
    days = since_new_battery(facts.battery)
    health.battery_percent = days[-1][1] if days else facts.reported_battery
    health.battery_ends_at = battery_end(days, now)
    if health.battery_percent is None and facts.is_battery_low is None:
        health.unknown.append(Cause.LOW_BATTERY)
    elif health.battery_percent is not None and health.battery_percent < limits.battery_percent:
        _find(health, Cause.LOW_BATTERY, f"pile à {_number(health.battery_percent)} %")
    elif facts.is_battery_low:
        _find(health, Cause.LOW_BATTERY, "il dit que sa pile est faible")
    elif health.battery_ends_at is not None and health.battery_ends_at - now <= BATTERY_NOTICE:
        _find(health, Cause.LOW_BATTERY, f"pile vide vers le {health.battery_ends_at:%d/%m/%Y}")


def since_new_battery(days: Sequence[tuple[datetime, float]]) -> Sequence[tuple[datetime, float]]:
    """What was read since the battery was changed last: so many points more than before."""
    begins = [
        place for place, (before, after) in enumerate(pairwise(days), 1) if after[1] - before[1] >= NEW_BEGINNING
    ]
    return days[begins[-1] :] if begins else days


def battery_end(days: Sequence[tuple[datetime, float]], now: datetime) -> datetime | None:
    """When it is empty, by the median of the slopes between its days; None: it does not fall, or nobody knows."""
    if len(days) < LEAST_POINTS or days[-1][0] - days[0][0] < LEAST_BATTERY_SPAN:
        return None
    chosen = [*days[:: max(1, len(days) // MOST_POINTS)], days[-1]]
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0]).total_seconds()
        for earlier, later in combinations(chosen, 2)
        if later[0] > earlier[0]
    ]
    slope = median(slopes)
    left_s = days[-1][1] / -slope if slope < 0 else FORESEEN_WITHIN.total_seconds()
    if left_s >= FORESEEN_WITHIN.total_seconds():
        return None
    return max(now, days[-1][0] + timedelta(seconds=left_s))


def _judge_values(facts: SensorFacts, limits: Limits, health: SensorHealth, now: datetime) -> None:
    known = [one for one in facts.frozen if one.readings >= LEAST_FLAT_READINGS]
    if not known:
        health.unknown.append(Cause.FLAT)
    for one in known:
        # The first reading of the span is up to one interval younger than its beginning.
        is_whole = now - one.first_at >= limits.flat_for - known_for(facts.expected_interval)
        if one.lowest == one.highest and is_whole:
            text = f"{one.quantity} : {_number(one.lowest)} depuis {_ago(now - one.first_at)} au moins"
            _find(health, Cause.FLAT, text)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0").replace(".", ",")


def _ago(span: timedelta) -> str:
    """A length of time in French, in its largest unit."""
    minutes = round(span / timedelta(minutes=1))
    if minutes < 120:  # noqa: PLR2004 - Two hours.
        return f"{max(minutes, 1)} min"
    hours = round(span / timedelta(hours=1))
    return f"{hours} h" if hours < 48 else f"{round(span / timedelta(days=1))} jours"  # noqa: PLR2004 - Two days.
