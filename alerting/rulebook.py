"""The engine's cache: rules by what they watch, and the datastreams that it has met."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog

from alerting.engine_store import StateKey, Watched, read_watched
from alerting.rule_store import StoredCalendar, list_calendars, read_enabled_rules
from alerting.rules.calendar import Calendar
from alerting.rules.model import Cabinet, Place, Rule
from core.messages.topics import slot_of_asset
from core.model.hours import MalformedHours
from core.model.lighting import Lamps
from core.model.lighting_programs import stored_program
from core.model.region import region_of, school_zone_of
from core.runtime.postgres import Pool
from registry.changes import Change

OF_DEVICES = ("silence", "loss")

log = structlog.get_logger()


def slot_of(asset_id: int | None, device_id: int) -> int:
    """The slot of the measurements of an asset, or of a device that serves none; as ingest splits them."""
    return slot_of_asset(device_id if asset_id is None else asset_id)


Sign = tuple[int, str | None]
"""A device and what was received of it: anything at all (None), or a value of this quantity."""


class Bound(NamedTuple):
    """A rule with a datastream that it watches: its fingerprint, what it has to know of the place, the slot."""

    rule: Rule
    key: StateKey
    place: Place
    slot: int


class Rulebook:
    """Caches of the enabled rules and of the datastreams; `apply` keeps them true."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rules: dict[int, Rule] = {}
        self._of_quantity: dict[tuple[int, str], list[Rule]] = {}
        self._of_devices: dict[int, list[Rule]] = {}
        self._calendars: dict[int, Calendar] = {}
        self._calendars_named: dict[tuple[int, str], Calendar] = {}
        self._watched: dict[int, Watched] = {}
        self._first_end: datetime | None = None  # When the first consent of what is cached ends.
        # Which rules watch a datastream is asked for every measurement.
        self._bound: dict[int, list[Bound]] = {}
        self._device_rules: dict[int, list[Rule]] = {}
        self.awaited: frozenset[str] = frozenset()
        """Quantities of which some silence rule wants values: that the device says others is not enough."""
        self.version = 0
        """Rises with every change that may concern what was derived from here."""

    async def load(self) -> None:
        """Read the rules and the calendars anew."""
        rules = await read_enabled_rules(self._pool)
        calendars = [(stored, read_calendar(stored)) for stored in await list_calendars(self._pool)]
        of_quantity: dict[tuple[int, str], list[Rule]] = {}
        of_devices: dict[int, list[Rule]] = {}
        for rule in rules:
            if rule.kind in OF_DEVICES:
                of_devices.setdefault(rule.tenant_id, []).append(rule)
            elif rule.quantity is not None:
                of_quantity.setdefault((rule.tenant_id, rule.quantity), []).append(rule)
        self._rules = {rule.id: rule for rule in rules}
        self._of_quantity, self._of_devices = of_quantity, of_devices
        self.awaited = frozenset(
            rule.quantity for rule in rules if rule.kind == "silence" and rule.quantity is not None
        )
        self._calendars = {stored.id: read for stored, read in calendars if read is not None}
        self._calendars_named = {
            (stored.tenant_id, stored.name): read for stored, read in calendars if read is not None
        }
        self._forget_derived()
        self.version += 1

    async def apply(self, changes: Sequence[Change]) -> None:
        """Follow changes of the registry: rules are read again, datastreams at their next measurement."""
        changed: dict[str, set[int]] = {}
        for change in changes:
            changed.setdefault(change.entity, set()).add(change.entity_id)
        if changed.keys() & {"alert_rule", "alert_calendar"}:
            await self.load()
        if changed.keys() & {"tenant", "device_profile", "lighting", "device", "asset"}:
            self.version += 1
            self._forget_derived()
        if changed.keys() & {"tenant", "device_profile", "lighting"}:
            self._watched.clear()
            return
        devices, assets = changed.get("device", set()), changed.get("asset", set())
        if devices or assets:
            self._watched = {
                id_: watched
                for id_, watched in self._watched.items()
                if watched.device_id not in devices and watched.asset_id not in assets
            }

    def _forget_derived(self) -> None:
        self._bound.clear()
        self._device_rules.clear()

    async def watched(self, ids: Iterable[int], now: datetime) -> Mapping[int, Watched]:
        """Datastreams by id, among them all of these; one that is gone, or whose consent has ended, is absent."""
        if self._first_end is not None and self._first_end <= now:
            self._watched = {
                id_: one for id_, one in self._watched.items() if one.fine_until is None or one.fine_until > now
            }
            self._first_end = _first_end(self._watched.values())
        unknown = set(ids).difference(self._watched)
        if unknown:
            read = {one.id: one for one in await read_watched(self._pool, list(unknown), now)}
            self._watched |= read
            self._first_end = min(filter(None, (self._first_end, _first_end(read.values()))), default=None)
        return self._watched

    def rule(self, rule_id: int) -> Rule | None:
        """An enabled rule."""
        return self._rules.get(rule_id)

    def gateway_rules(self) -> Mapping[int, Sequence[Rule]]:
        """Rules about gateways, by tenant."""
        found: dict[int, list[Rule]] = {}
        for rule in self._rules.values():
            if rule.kind == "gateway":
                found.setdefault(rule.tenant_id, []).append(rule)
        return found

    def tenants_with_loss_rules(self) -> list[int]:
        """Those that want to know which messages are lost."""
        return sorted({rule.tenant_id for rule in self._rules.values() if rule.kind == "loss"})

    def rules_of(self, watched: Watched) -> list[Bound]:
        """The rules that watch this datastream's values."""
        found = self._bound.get(watched.id)
        if found is None:
            rules = self._of_quantity.get((watched.tenant_id, watched.quantity), ())
            found = self._bound[watched.id] = [
                Bound(
                    rule,
                    StateKey(rule.id, watched.id),
                    self.place_of(rule, watched),
                    slot_of(watched.asset_id, watched.device_id),
                )
                for rule in rules
                if applies(rule, watched)
            ]
        return found

    def device_rules(self, watched: Watched) -> list[Rule]:
        """The rules that watch its device: for signs of life, for messages that are lost."""
        found = self._device_rules.get(watched.id)
        if found is None:
            rules = self._of_devices.get(watched.tenant_id, ())
            found = self._device_rules[watched.id] = [rule for rule in rules if applies(rule, watched)]
        return found

    def silence_rules(self, watched: Watched, quantity: str | None) -> list[Rule]:
        """The rules that wait for signs of life of its device: for any (None), or for values of this quantity."""
        return [
            rule for rule in self.device_rules(watched) if rule.kind == "silence" and rule.quantity == quantity
        ]

    def place_of(self, rule: Rule, watched: Watched) -> Place:
        """What `rule` has to know of where this datastream is measured."""
        calendar = None
        if watched.calendar is not None:
            calendar = self._calendars_named.get((watched.tenant_id, watched.calendar))
        if calendar is None and rule.calendar_id is not None:
            calendar = self._calendars.get(rule.calendar_id)
        return place(watched, calendar)


def _first_end(watched: Iterable[Watched]) -> datetime | None:
    return min((one.fine_until for one in watched if one.fine_until is not None), default=None)


def applies(rule: Rule, watched: Watched) -> bool:
    """Whether a rule of its tenant and quantity is about a datastream's asset."""
    if rule.asset_kinds is not None and watched.asset_kind not in rule.asset_kinds:
        return False
    return not rule.tags or any(tag in watched.tags for tag in rule.tags)


def read_calendar(stored: StoredCalendar) -> Calendar | None:
    """A calendar as rules ask it; None, and a line in the log, for one that nobody can read."""
    try:
        return stored.read()
    except (MalformedHours, ValueError, TypeError) as unreadable:
        log.error("calendar_unreadable", calendar=stored.id, reason=str(unreadable))
        return None


def place(watched: Watched, calendar: Calendar | None) -> Place:
    """Where a datastream is measured."""
    return Place(
        watched.latitude,
        watched.longitude,
        calendar,
        watched.rated_power_w,
        stored_program(watched.program),
        region_of(watched.department, watched.timezone),
        watched.expected_interval,
        watched.replaced_at,
        school_zone_of(watched.department),
        *_lighting(watched.lighting),
    )


def _lighting(facts: Any) -> tuple[Cabinet | None, tuple[Lamps, ...]]:
    """What `lighting_facts` (migration 0095) says of a cabinet or circuit."""
    if facts is None:
        return None, ()
    circuits = facts.get("circuits", ())
    cabinet = Cabinet(**{name: value for name, value in facts.items() if name != "circuits"})
    return cabinet, tuple(Lamps(stored_program(one.get("program")), one.get("watts")) for one in circuits)
