"""The fleet's own account against what is stored: every uplink received is there exactly once, and decoded."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from core.runtime.postgres import Pool
from lab.device.device import SentUplink
from lab.gateway.gateway import Uptime
from lorawan.instants import from_us

# An uplink is named by what the device itself knows of it.
Key = tuple[bytes, bytes, int]

STORED = """
SELECT d.dev_eui, s.dev_addr, u.f_cnt, u.status, count(*) AS times
FROM observation.uplink u
JOIN device d ON d.id = u.device_id
LEFT JOIN session s ON s.id = u.session_id
WHERE d.tenant_id = $1
GROUP BY d.dev_eui, s.dev_addr, u.f_cnt, u.status
"""
BEFORE_A_KILL_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill -9 at the radio edge, and the gateways that it cut off."""

    at_us: int
    gateways: frozenset[bytes]
    gone_us: int = 0
    """When it was seen to be gone, where it was asked to stop: until then the one that goes answers, too."""
    is_kept: bool = False
    """What was sent after `gone_us` waits in the kernel for the next bridge: it is ours, or counted as dropped."""


@dataclass(slots=True)
class Account:
    """The balance. It balances when nothing is missing, doubled, unknown or undecoded."""

    sent: int = 0
    heard: int = 0
    left_out: int = 0  # Received only in an interval that a kill at the radio edge may have cost.
    stored: int = 0
    missing: int = 0
    duplicates: int = 0
    unexpected: int = 0
    undecodable: int = 0
    examples: list[str] = field(default_factory=list[str])

    @property
    def balances(self) -> bool:
        """Whether stored is exactly what was received."""
        return not (self.missing or self.duplicates or self.unexpected or self.undecodable)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "balances": self.balances}


def key_of(uplink: SentUplink) -> Key:
    """What names an uplink."""
    return (uplink.dev_eui, uplink.dev_addr, uplink.f_cnt)


def is_certainly_received(uplink: SentUplink, kills: Iterable[Kill], uptimes: Mapping[bytes, Uptime]) -> bool:
    """Whether at least one copy lies outside every interval that a kill at the radio edge may have cost."""
    return any(
        not any(_cost(kill, gateway_id, uplink.sent_at_us, uptimes[gateway_id]) for kill in kills)
        for gateway_id in uplink.received_by
    )


def _cost(kill: Kill, gateway_id: bytes, at_us: int, uptime: Uptime) -> bool:
    if gateway_id not in kill.gateways or at_us < kill.at_us - BEFORE_A_KILL_US:
        return False
    if kill.is_kept:
        return at_us <= kill.gone_us  # Read, and not published yet.
    back = uptime.back_after(max(kill.at_us, kill.gone_us))
    return back is None or at_us <= back


async def read_stored(pool: Pool, tenant_id: int) -> tuple[Counter[Key], set[Key]]:
    """How many times each uplink is stored, and which of them were not decoded."""
    times: Counter[Key] = Counter()
    undecodable: set[Key] = set()
    for row in await pool.fetch(STORED, tenant_id):
        key = (row["dev_eui"], row["dev_addr"], row["f_cnt"])
        times[key] += row["times"]
        if row["status"] == "undecodable":
            undecodable.add(key)
    return times, undecodable


def balance(
    sent: Sequence[SentUplink],
    stored: Counter[Key],
    undecodable: set[Key],
    *,
    kills: Sequence[Kill] = (),
    uptimes: Mapping[bytes, Uptime] | None = None,
) -> Account:
    """Compare what the fleet sent with what is stored."""
    account = Account(sent=len(sent), stored=stored.total(), undecodable=len(undecodable))
    known: set[Key] = set()
    for uplink in sent:
        if not uplink.received_by:
            continue
        account.heard += 1
        key = key_of(uplink)
        known.add(key)
        if stored[key] == 1:
            continue
        if stored[key] > 1:
            account.duplicates += stored[key] - 1
        elif is_certainly_received(uplink, kills, uptimes or {}):
            account.missing += 1
        else:
            account.left_out += 1
            continue
        account.examples.append(
            f"{key[0].hex()} f_cnt {key[2]} enregistrée {stored[key]} fois, "
            f"émise à {from_us(uplink.sent_at_us):%H:%M:%S.%f}"
        )
    strangers = set(stored) - known
    account.unexpected = len(strangers)
    account.examples += [f"{key[0].hex()} f_cnt {key[2]} n'a jamais été entendue" for key in strangers]
    del account.examples[20:]
    return account
