"""Random worlds of tenants that share, and a model of what each of them should see there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

# Instants are half hours from a local midnight in Paris: two days of them, so that an hour has two and a day 48.
BASE = datetime(2026, 11, 1, 23, tzinfo=UTC)
CELL = timedelta(minutes=30)
CELLS = range(-2, 100)
HOURS, DAYS = range(0, 96, 2), (0, 48)
EVERY = frozenset(CELLS)
OF_ROUNDS = ("waste_round_stop", "waste_round_outcome")
GAUGE, COUNTER = "temperature", "water_volume"
Period = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Asset:
    tenant: int
    kind: str
    tags: tuple[str, ...]
    privacy_class: int


@dataclass(frozen=True, slots=True)
class Device:
    tenant: int
    owned_since: int | None


@dataclass(frozen=True, slots=True)
class Serving:
    device: int
    asset: int
    during: Period


@dataclass(frozen=True, slots=True)
class Datastream:
    tenant: int
    asset: int | None
    device: int
    quantity: str
    stated_class: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    giver: int
    grantee: int
    asset: int | None
    tag: str | None
    kind: str | None
    role: str
    valid: Period  # In hours from now.
    data: Period
    revoked: bool
    accepted: bool = True

    @property
    def holds(self) -> bool:
        since, until = self.valid
        return self.accepted and not self.revoked and (since is None or since < 0) and (until is None or until > 0)

    def covers(self, asset: Asset, index: int) -> bool:
        if asset.tenant != self.giver:
            return False
        if self.asset is not None:
            return self.asset == index
        by_tag = self.tag is None or self.tag in asset.tags
        by_kind = self.kind is None or self.kind == asset.kind
        return asset.privacy_class < 2 and by_tag and by_kind


@dataclass(frozen=True, slots=True)
class World:
    """Things by their place in these tuples; their ids in the database are one more."""

    member_of: tuple[int | None, ...]
    assets: tuple[Asset, ...]
    devices: tuple[Device, ...]
    servings: tuple[Serving, ...]
    datastreams: tuple[Datastream, ...]
    grants: tuple[Grant, ...]
    tenures: tuple[tuple[int, int, Period], ...]  # device, tenant, during
    events: tuple[tuple[int, int], ...]  # asset, instant: an alert and a lighting command each.
    instants: tuple[int, ...]  # A measurement of every datastream and an uplink of every device at each.
    consents: Mapping[int, bool] = field(default_factory=dict[int, bool])  # Of which assets; whether it has ended.

    def class_of(self, stream: Datastream) -> int:
        if stream.asset is not None:
            return max(stream.stated_class, self.assets[stream.asset].privacy_class)
        return 2 if stream.quantity == COUNTER else stream.stated_class

    def is_fine(self, stream: Datastream) -> bool:
        """Whether anything finer than days is shown of it."""
        has_ended = stream.asset is not None and self.consents.get(stream.asset, False)
        return self.class_of(stream) < 2 or not has_ended

    def is_personal(self, device: int) -> bool:
        served = (serving.asset for serving in self.servings if serving.device == device)
        streams = (stream for stream in self.datastreams if stream.device == device)
        return any(self.assets[asset].privacy_class == 2 for asset in served) or any(
            self.class_of(stream) == 2 for stream in streams
        )


def cells(period: Period) -> frozenset[int]:
    since, until = period
    return frozenset(CELLS[0 if since is None else since + 2 : None if until is None else until + 2])


# The model.


def visible_tenants(world: World, me: int) -> set[int]:
    seen = {me}
    while more := {index for index, above in enumerate(world.member_of) if above in seen} - seen:
        seen |= more
    return seen


def _of_rounds(world: World, me: int) -> set[str]:
    """Each tenant plans a round over all bins of the next one, whoever sees them."""
    bins = {i for i, asset in enumerate(world.assets) if me in {asset.tenant, (asset.tenant - 1) % TENANTS}}
    return {f"waste_round {me}"} | {f"{table} {i}" for i in bins for table in OF_ROUNDS}


def expected(world: World, me: int | None) -> set[str]:
    """What the role of the API should read, one line per row: the table and the row's key."""
    if me is None:
        return set()
    seen = visible_tenants(world, me)
    held = [grant for grant in world.grants if grant.grantee == me and grant.holds]
    shown = _shown(world, held)
    named = _shown(world, [grant for grant in held if grant.asset is not None])
    tenures = [
        (device, cells(during))
        for device, tenant, during in world.tenures
        if tenant == me or (tenant in seen and not world.is_personal(device))
    ]
    formerly = {world.devices[device].tenant for device, tenant, _ in world.tenures if tenant in seen}
    reachable = seen | {grant.giver for grant in held} | formerly

    rows = {f"tenant {tenant}" for tenant in seen}
    of_gateways = (
        "gateway",
        "gateway_state",
        "gateway_hour",
        "gateway_air_day",
        "gateway_address_change",
        "outage",
        "transmission",
    )
    of_gateways += ("gateway_token", "station_order", "station_report", "mqtt_account")
    for table in (*of_gateways, "device_profile", "alert_rule"):
        rows |= {f"{table} {tenant}" for tenant in seen}
    own = (
        "api_key",
        "person",
        "membership",
        "invitation",
        "webhook_endpoint",
        "webhook_attempt",
        "measurement_webhook",
        "measurement_batch",
        "audit",
        "audit_line",
        "audit_detail",
        "team",
        "contact",
        "event_source",
        "idempotency_key",
        "key_recipient",
        "station_update",
        "erasure",
        "alert_calendar",
        "silence",
        "publication_host",
        "commune_outline",
        "weather_day",
        "weighing",
        "kit_template",
        "kit_commissioning",
        "kit_item",
        "cost_contributor",
        "cost_period",
        "cost_item",
        "cost_entry",
        "report_month",
        "report_recipient",
        "report_sending",
        "report_identity",
        "work_order",
        "work_order_event",
        "work_order_photo",
        "photo_upload",
        "photo_upload_part",
    )
    rows |= {
        f"{table} {me}"
        for table in (*own, "partner_account", "lns_source", "lns_source_state", "lns_unknown_device")
    }
    rows |= {f"{table} {me}" for table in ("multicast_group", "multicast_message")}
    rows |= {f"report {tenant}" for tenant in seen}
    # Each tenant issues a statement to the next one.
    rows |= {
        f"{table} {one}" for table in ("cost_statement", "cost_statement_line") for one in (me, (me - 1) % TENANTS)
    }
    rows |= {
        f"publication {i}"
        for i, asset in enumerate(world.assets)
        if asset.tenant == me and asset.privacy_class < 2
    }
    rows |= {f"multicast_member {i}" for i, device in enumerate(world.devices) if device.tenant == me}
    rows |= {f"{table} {me}" for table in ("application", "application_state")}
    rows |= {f"{table} {me}" for table in ("codec", "codec_version", "device_profile_override", "codec_shadow")}
    rows |= {f"{table} {me}" for table in ("import_job", "import_part", "import_rejection")}
    rows |= {
        f"{table} {me}"
        for table in ("export_job", "export_part", "export_stream", "export_schedule", "export_drop")
    }
    rows |= {f"{table} {me}" for table in ("redecode", "profile_decoding_key")}
    for table in ("application_device", "frame_refusal", "codec_difference", "device_decoding_key"):
        rows |= {f"{table} {i}" for i, device in enumerate(world.devices) if device.tenant == me}
    visible = {i for i, asset in enumerate(world.assets) if _sees(me, seen, asset.tenant, asset.privacy_class)}
    of_assets = (
        "asset",
        "asset_life",
        "lighting_assignment",
        "lighting_program_in_force",
        "lighting_shadow",
        "lighting_unknown_act",
    )
    rows |= {f"{table} {i}" for i in visible | shown.keys() for table in of_assets}
    rows |= {
        f"{table} {tenant}"
        for tenant in seen | {world.assets[i].tenant for i in shown}
        for table in ("lighting_program", "lighting_program_version")
    }
    rows |= {f"lighting_campaign {me}"}
    rows |= {f"lighting_campaign_target {i}" for i, asset in enumerate(world.assets) if asset.tenant == me}
    rows |= {f"lighting_bounds {tenant}" for tenant in seen if world.member_of[tenant] is not None}
    rows |= {f"{table} {i}" for i in world.consents if world.assets[i].tenant == me for table in OF_PRIVACY}
    for day in DAYS:
        rows |= {f"dwelling_day {tenant} {day // 48}" for tenant in seen | _of_days(held, day)}
    rows |= {f"work_order_link {me}" for asset in world.assets if asset.tenant == me}
    for table in ("maintenance_window", "asset_photo", "energy_baseline"):
        rows |= {f"{table} {i}" for i, asset in enumerate(world.assets) if asset.tenant == me}
    rows |= _of_rounds(world, me)
    rows |= {
        f"access_grant {index}"
        for index, grant in enumerate(world.grants)
        if grant.giver in seen or grant.grantee == me
    }
    # Each tenant offers an asset to the next one and contests what that one holds.
    rows |= {f"{table} {one}" for table in ("asset_transfer", "eui_claim") for one in (me, (me - 1) % TENANTS)}
    for index, (asset, instant) in enumerate(world.events):
        if asset in visible or instant in shown.get(asset, ()):
            rows |= {f"alert {index}", f"alert_event {index}", f"lighting_command {index}"}
        if world.assets[asset].tenant == me:
            rows |= {f"alert_notice {index}", f"alert_notice_recipient {index}"}
        tenant = world.assets[asset].tenant
        if tenant == me or (
            tenant in seen and not (world.devices[0].tenant in seen - {me} and world.is_personal(0))
        ):
            rows.add(f"downlink {index}")
    rows |= _of_devices(world, me, seen, reachable, shown, named, tenures)
    return rows | _of_datastreams(world, me, seen, shown, named)


OF_PRIVACY = ("processing", "consent")


def _shown(world: World, grants: list[Grant]) -> dict[int, frozenset[int]]:
    """The instants of each asset that these grants cover."""
    shown: dict[int, frozenset[int]] = {}
    for index, asset in enumerate(world.assets):
        periods = [cells(grant.data) for grant in grants if grant.covers(asset, index)]
        if periods:
            shown[index] = frozenset[int]().union(*periods)
    return shown


def _of_days(held: list[Grant], day: int) -> set[int]:
    """The tenants whose days of ten dwellings are granted, this one whole."""
    given: dict[int, frozenset[int]] = {}
    for grant in held:
        if (grant.asset, grant.tag, grant.kind) == (None, None, None):
            given[grant.giver] = given.get(grant.giver, frozenset()) | cells(grant.data)
    return {giver for giver, data in given.items() if data.issuperset(range(day, day + 48))}


def _sees(me: int, seen: set[int], tenant: int, privacy_class: int) -> bool:
    """One's own, and of members what is not of class 2."""
    return tenant == me or (tenant in seen and privacy_class < 2)


def _of_devices(
    world: World,
    me: int,
    seen: set[int],
    reachable: set[int],
    shown: dict[int, frozenset[int]],
    named: dict[int, frozenset[int]],
    tenures: list[tuple[int, frozenset[int]]],
) -> set[str]:
    rows: set[str] = set()
    others: dict[int, frozenset[int]] = {
        stream.device: frozenset()
        for stream in world.datastreams
        if stream.asset in (shown if world.class_of(stream) < 2 else named)
    }
    for device, during in tenures:
        others[device] = others.get(device, frozenset()) | during
    for index, serving in enumerate(world.servings):
        is_personal = any(
            (stream.asset, stream.device) == (serving.asset, serving.device) and world.class_of(stream) == 2
            for stream in world.datastreams
        )
        period = (named if is_personal else shown).get(serving.asset, frozenset()) & cells(serving.during)
        if period:
            others[serving.device] = others.get(serving.device, frozenset()) | period
        asset = world.assets[serving.asset]
        if period or (
            _sees(me, seen, asset.tenant, asset.privacy_class)
            and (asset.tenant == me or not world.is_personal(serving.device))
        ):
            rows.add(f"assignment {index}")
    for index, device in enumerate(world.devices):
        own = device.tenant == me or (device.tenant in seen and not world.is_personal(index))
        is_fine = all(world.is_fine(stream) for stream in world.datastreams if stream.device == index)
        if not own and (index not in others or device.tenant not in reachable):
            continue
        rows |= {f"device {index}", f"device_status {index}"}
        since = -2 if device.owned_since is None else device.owned_since
        # Days of which it is sure that the device was owned when they began: midnight of UTC, 14 hours before.
        days = {0: 2 - 28, 2: 98 - 28} if own else {}
        known = {day for day, begins in days.items() if device.owned_since is None or begins >= since}
        rows |= {f"network_day {index} {day}" for day in known}
        for instant in world.instants:
            if (own and instant >= since) or instant in others.get(index, ()):
                rows |= {f"reception {index} {instant}", *([f"uplink {index} {instant}"] if is_fine else [])}
    return rows


def _of_datastreams(
    world: World,
    me: int,
    seen: set[int],
    shown: dict[int, frozenset[int]],
    named: dict[int, frozenset[int]],
) -> set[str]:
    rows: set[str] = set()
    for index, stream in enumerate(world.datastreams):
        privacy_class = world.class_of(stream)
        granted = shown if privacy_class < 2 else named
        own = _sees(me, seen, stream.tenant, privacy_class)
        data = EVERY if own else granted.get(stream.asset) if stream.asset is not None else None
        if data is None:
            continue
        end = 1 if stream.quantity == COUNTER else 0  # A bucket of an index holds the instant of its end.
        rows.add(f"datastream {index}")
        rows |= {f"meter_change {index} {instant}" for instant in world.instants if instant in data}
        rows |= {f"rollup_day {index} {day}" for day in DAYS if data.issuperset(range(day, day + 48 + end))}
        if privacy_class < 2:
            before = {instant for instant in world.instants if instant - 1 in data or own}
            rows |= {f"emptying {index} {instant}" for instant in before if instant in data}
            rows |= {f"fill_day {index} {day}" for day in DAYS if data.issuperset(range(day, day + 48))}
        if not world.is_fine(stream):
            continue
        for table in ("measurement", "correction", "feed"):
            rows |= {f"{table} {index} {instant}" for instant in world.instants if instant in data}
        if max(world.instants) in data:
            rows.add(f"latest {index} {max(world.instants)}")
        rows |= {f"rollup_hour {index} {hour}" for hour in HOURS if data.issuperset(range(hour, hour + 2 + end))}
        rows |= {f"unrolled {index} {hour}" for hour in HOURS if data.issuperset(range(hour, hour + 2))}
    return rows


# Worlds.

TENANTS = 4


@st.composite
def periods(draw: st.DrawFn, bounds: Iterable[int]) -> Period:
    first, second = sorted(draw(st.lists(st.sampled_from(list(bounds)), min_size=2, max_size=2, unique=True)))
    return draw(st.sampled_from([(first, second), (None, second), (first, None), (None, None)]))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    member_of = tuple(draw(st.sampled_from([None, *range(index)])) if index else None for index in range(TENANTS))
    tenant = st.integers(0, TENANTS - 1)
    tags = st.sampled_from([(), ("école",), ("école", "été"), ("été",)])
    asset = st.builds(Asset, tenant, st.sampled_from(["bin", "room"]), tags, st.integers(0, 2))
    assets = tuple(draw(st.lists(asset, min_size=2, max_size=5)))
    edges = range(98)
    devices: list[Device] = []
    servings: list[Serving] = []
    datastreams: list[Datastream] = []
    for index in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(assets) - 1))
        owner = assets[first].tenant
        since = draw(st.sampled_from([None, None, 20]))
        devices.append(Device(owner, since))
        moved = draw(st.sampled_from([None, 30, 60]))
        servings.append(Serving(index, first, (draw(st.sampled_from([None, 10])), moved)))
        if moved is not None:
            candidates = [place for place, asset in enumerate(assets) if asset.tenant == owner]
            servings.append(Serving(index, draw(st.sampled_from(candidates)), (moved, None)))
        stated = draw(st.sampled_from([0, 0, 2]))
        datastreams.append(Datastream(owner, first, index, draw(st.sampled_from([GAUGE, COUNTER])), stated))
        if draw(st.booleans()):
            datastreams.append(Datastream(owner, None, index, draw(st.sampled_from([GAUGE, COUNTER])), 0))
    grants = draw(st.lists(_grants(assets, edges), max_size=5))
    tenures = {
        (draw(st.integers(0, len(devices) - 1)), draw(tenant)): draw(periods(edges))
        for _ in range(draw(st.integers(0, 2)))
    }
    events = draw(st.lists(st.tuples(st.integers(0, len(assets) - 1), st.sampled_from(edges)), max_size=3))
    instants = draw(st.lists(st.sampled_from(edges), min_size=1, max_size=5, unique=True))
    return World(
        member_of,
        assets,
        tuple(devices),
        tuple(servings),
        tuple(datastreams),
        tuple(grants),
        tuple((device, holder, during) for (device, holder), during in tenures.items()),
        tuple(events),
        tuple(instants),
        draw(st.dictionaries(st.integers(0, len(assets) - 1), st.booleans(), max_size=2)),
    )


@st.composite
def _grants(draw: st.DrawFn, assets: tuple[Asset, ...], edges: range) -> Grant:
    place = draw(st.integers(0, len(assets) - 1))
    giver = assets[place].tenant
    what = draw(st.sampled_from(["asset", "tag", "kind", "everything"]))
    return Grant(
        giver,
        draw(st.sampled_from([other for other in range(TENANTS) if other != giver])),
        place if what == "asset" else None,
        draw(st.sampled_from(["école", "été"])) if what == "tag" else None,
        draw(st.sampled_from(["bin", "room"])) if what == "kind" else None,
        draw(st.sampled_from(["reader", "operator"])),
        draw(
            st.sampled_from(
                [(None, None), (-1, None), (None, 1), (-2, 2), (None, -1), (1, None), (-2, -1), (1, 2)]
            )
        ),
        draw(periods(edges)),
        draw(st.sampled_from([False, False, False, True])),
        draw(st.sampled_from([True, True, True, False])),
    )
