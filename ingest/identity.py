"""Finds duplicates among uplinks (docs/architecture.md, "An uplink has one identity and one time").

Pure: what is stored is an argument.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from core.messages.uplinks import Uplink
from core.model.identities import digest_of

# A copy of an uplink, from another network server, comes within this time of it.
SAME_WITHIN_US = 600_000_000

# device, f_cnt, digest: the key of observation.uplink_seen.
SeenKey = tuple[int, int, int]


class Stored(NamedTuple):
    """An uplink that has rows. `session_id` 0: it came without a session of ours."""

    uplink_id: bytes
    time_us: int
    session_id: int


def seen_key(uplink: Uplink) -> SeenKey:
    """What two deliveries of one uplink have in common."""
    return uplink.device_id, uplink.f_cnt, digest_of(uplink.f_port, uplink.payload)


def stored_as(uplink: Uplink, candidates: Iterable[Stored]) -> Stored | None:
    """Under what this uplink is stored, of `candidates`, which have its key; None: it is a new one.

    Sessions of ours have counters of their own: the same key under another session is another uplink. Of several
    the first counts, so that a later one changes nothing about what was decided before.
    """
    same = [
        stored
        for stored in candidates
        if abs(uplink.time_us - stored.time_us) <= SAME_WITHIN_US
        and (uplink.uplink_id == stored.uplink_id or not uplink.session_id or not stored.session_id)
    ]
    for stored in same:
        if stored.uplink_id == uplink.uplink_id and stored.time_us == uplink.time_us:
            return stored
    return min(same, key=lambda stored: (stored.time_us, stored.uplink_id), default=None)


def sort_out(uplinks: Sequence[Uplink], stored: dict[SeenKey, list[Stored]]) -> list[Stored | None]:
    """For each uplink, in stream order, under what it is stored already; None: it is new.

    `stored` is what the tables have for their keys; it grows by the new ones, since what follows may be a copy of
    them. A late copy is never new: it waits for nothing and is stored under its own identity.
    """
    found: list[Stored | None] = []
    for uplink in uplinks:
        candidates = stored.setdefault(seen_key(uplink), [])
        known = stored_as(uplink, candidates)
        if known is None and not uplink.late:
            candidates.append(Stored(uplink.uplink_id, uplink.time_us, uplink.session_id))
        found.append(known)
    return found
