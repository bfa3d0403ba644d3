"""The last days as the engine met them: what was received when, from whom, and what was away. For backtests."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from alerting.engine_store import Watched
from alerting.frame_loss_store import READ_VISIBLE_GATEWAYS, read_device_outages
from alerting.rule_store import list_rules
from alerting.rulebook import OF_DEVICES, applies
from alerting.rules.alert_lifecycle import Suppression
from alerting.rules.doubts import observation_of
from alerting.rules.frame_loss import OVER, hourly_frame_loss
from alerting.rules.model import Rule
from alerting.rules.replay import Arrival, Deadline, Replaced, Span, Stream, Suppress, in_time
from alerting.silences import COME_BACK, GATEWAY, GATEWAY_LATE, HEARD_WITHIN, LOOK_AGAIN
from core.messages.measurements import DOUBTFUL, Flag
from core.model.frame_loss import CountedUplink
from core.runtime.postgres import Connection
from registry.outages import Outage, read_outages, recorded_since
from registry.rows import entity, fetch_all

MOST_MEASUREMENTS = 400_000

# $5: flags that count for nothing.
READ_VALUES = """
SELECT datastream_id, time, value, flags FROM measurement
WHERE datastream_id = ANY($1::int[]) AND time > $2 AND time <= $3 AND flags & $5 = 0
ORDER BY datastream_id, time LIMIT $4
"""
READ_FRAMES = """
SELECT time, session_id, f_cnt FROM uplink
WHERE device_id = $1 AND time > $2 AND time <= $3 AND f_cnt IS NOT NULL ORDER BY time LIMIT $4
"""
READ_UPLINKS = """
SELECT time, received_at FROM uplink WHERE device_id = $1 AND time > $2 AND time <= $3 ORDER BY time LIMIT $4
"""
# Which devices have served these assets, where, and how often each is expected to speak.
READ_SERVINGS = """
SELECT g.asset_id, g.device_id, g.position, d.name AS device, p.expected_interval,
       greatest(lower(g.during), $2::timestamptz) AS since, least(upper(g.during), $3::timestamptz) AS until,
       coalesce(upper(g.during), 'infinity') <= $3 AS was_taken_away,
       CASE WHEN lower(g.during) > greatest($2, (SELECT deadlines_from FROM deployment))
            THEN lower(g.during) END AS awaited_from
FROM assignment g JOIN device d ON d.id = g.device_id JOIN device_profile p ON p.id = d.device_profile_id
WHERE g.asset_id = ANY($1::int[]) AND g.during && tstzrange($2, $3) ORDER BY since, g.device_id
"""
READ_HEARD = """
SELECT DISTINCT gateway_id, date_trunc('hour', time) AS hour FROM reception
WHERE device_id = $1 AND time > $2 AND time <= $3
"""


@dataclass(frozen=True, slots=True)
class Serving:
    """A device and the time in which it served an asset, as far as it lies in the days that are looked at."""

    asset_id: int
    device_id: int
    position: str
    device: str
    expected_interval: timedelta
    since: datetime
    until: datetime
    was_taken_away: bool
    awaited_from: datetime | None  # When it was assigned, unless that is too long ago.


# A datastream with its device and its asset; `id` None: the device has never measured anything there.
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Uplinks:
    """When a device's uplinks were sent, and when each was received."""

    sent: Sequence[datetime]
    received: Sequence[datetime]

    def received_at(self, at: datetime) -> datetime:
        """When a value of this instant was received: with its own uplink, else with the next one.

        Without either (an uplink is kept for less long, or somebody has typed the value) it counts as in time.
        """
        place = bisect_left(self.sent, at)
        return max(at, self.received[place]) if place < len(self.sent) else at


@dataclass(slots=True)
class Past:
    """What a rule would have met; read device by device."""

    connection: Connection
    rule: Rule
    since: datetime
    until: datetime
    outages: Sequence[Outage]
    outages_since: datetime | None
    no_data_rules: Sequence[Rule]
    servings: Mapping[int, Sequence[Serving]]
    measurements: int = 0
    _uplinks: dict[int, Uplinks] = field(default_factory=dict[int, Uplinks])

    @classmethod
    async def read(
        cls, connection: Connection, rule: Rule, rows: Sequence[Row], since: datetime, until: datetime
    ) -> "Past":
        """What is known beforehand of these datastreams."""
        assets = sorted({row["asset_id"] for row in rows if row["asset_id"] is not None})
        servings: dict[int, list[Serving]] = {}
        for one in await fetch_all(connection, Serving, READ_SERVINGS, assets, since, until):
            servings.setdefault(one.asset_id, []).append(one)
        return cls(
            connection,
            rule,
            since,
            until,
            await read_outages(connection, since, until),
            await recorded_since(connection),
            [
                one
                for one in await list_rules(connection)
                if one.kind == "silence" and one.enabled and one.tenant_id == rule.tenant_id
            ],
            servings,
        )

    @property
    def unjudged_spans(self) -> list[Span]:
        """When nobody judged what was received."""
        return [(one.began_at, one.ended_at or self.until) for one in self.outages if one.what == "platform"]

    def groups(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Datastreams whose values concern one alert; of a device, as it was when that served."""
        groups: dict[tuple[str, int, int], list[Row]] = {}
        for row in rows:
            asset_id = row["asset_id"] or 0
            if self.rule.kind in OF_DEVICES:
                for one in self._serving(row):
                    theirs = {"device_id": one.device_id, "device": one.device}
                    theirs |= {"expected_interval": one.expected_interval}
                    groups.setdefault(("device", asset_id, one.device_id), []).append({**row, **theirs})
            elif self.rule.scope == "asset" and row["asset_id"] is not None:
                groups.setdefault(("asset", asset_id, 0), []).append(row)
            else:
                groups.setdefault(("datastream", asset_id, row["id"]), []).append(row)
        return list(groups.values())

    async def streams(self, group: Sequence[Row]) -> Mapping[int, Stream]:
        """What the rule judges of these datastreams, or of their device, as it was received."""
        device_id = group[0]["device_id"]
        theirs = [one for one in self._serving(group[0]) if one.device_id == device_id]
        taken_away = [Replaced(one.until) for one in theirs if one.was_taken_away]
        if self.rule.kind == "loss":
            rows = await self.connection.fetch(
                READ_FRAMES, device_id, self.since - OVER, self.until, MOST_MEASUREMENTS + 1
            )
            self.measurements += len(rows)
            away = await read_device_outages(
                self.connection, [device_id], self.since - OVER, self.until, READ_VISIBLE_GATEWAYS
            )
            frames = [CountedUplink(*row) for row in rows]
            losses = hourly_frame_loss(frames, self.since, theirs[-1].until, away[device_id])
            return {device_id: Stream(in_time(losses), replaced=taken_away)}
        if self.rule.kind == "silence":
            rows = await self._values(group, Flag.MANUAL)
            values = [at for of_stream in rows.values() for at, _, _ in of_stream]
            deadlines = [
                Deadline(
                    self.rule.silence_intervals * one.expected_interval,
                    await self._signs(one, values, self.rule.quantity),
                    one.until if one.was_taken_away else None,
                )
                for one in theirs
            ]
            return {device_id: Stream((), deadlines, taken_away)}
        found: dict[int, Stream] = {}
        values = await self._values(group, 0 if self.rule.judges_improbable else DOUBTFUL)
        for row in group:
            servings = self._serving(row)
            arrivals = [
                Arrival(at if flags & Flag.MANUAL else await self._received_at(servings, at), judged)
                for at, value, flags in values.get(row["id"], ())
                if (judged := observation_of(row["quantity"], at, value, flags)) is not None
            ]
            signs = [at for at, _, flags in values.get(row["id"], ()) if not flags & Flag.MANUAL]
            found[row["id"]] = Stream(
                sorted(arrivals, key=itemgetter(0)),
                [
                    Deadline(
                        rule.silence_intervals * one.expected_interval,
                        await self._signs(one, signs, rule.quantity),
                        one.until if one.was_taken_away else None,
                    )
                    for rule in self._no_data_rules(row)
                    for one in servings
                ],
                replacements(servings),
                servings[0].expected_interval,
            )
        return found

    async def suppression(self, row: Row) -> Suppress:
        """Whether gateways explain that nothing was received of a device, as `alerting.silences` finds it live."""
        heard = [
            (gateway_id, hour)
            for gateway_id, hour in await self.connection.fetch(
                READ_HEARD, row["device_id"], self.since - HEARD_WITHIN, self.until
            )
        ]
        grace = COME_BACK * row["expected_interval"]
        away: dict[int, list[Span]] = {}
        for one in self.outages:
            if one.what != "platform":
                away.setdefault(one.gateway_id or 0, []).append((one.began_at, one.ended_at or self.until))

        def suppress(since: datetime, now: datetime) -> Suppression | None:
            gateways = {gateway for gateway, hour in heard if since - HEARD_WITHIN < hour <= since}
            spans = [[*away.get(0, ()), *away.get(gateway, ())] for gateway in sorted(gateways)]
            gone = [any(began + GATEWAY_LATE <= now < ended for began, ended in of_one) for of_one in spans]
            back = [[ended for _, ended in of_one if since < ended <= now] for of_one in spans]
            if not spans or not all(is_gone or ended for is_gone, ended in zip(gone, back, strict=True)):
                return None
            if all(gone):
                return Suppression(f"{GATEWAY} muette", now + LOOK_AGAIN, is_cause=True)
            until = max(max(ended) for is_gone, ended in zip(gone, back, strict=True) if not is_gone) + grace
            return Suppression(f"{GATEWAY} de retour", until, is_cause=True) if until > now else None

        return suppress

    def _no_data_rules(self, row: Row) -> list[Rule]:
        """The tenant's no-data rules after whose deadlines nothing is known of this datastream."""
        watched = entity(Watched, row)
        return [
            rule
            for rule in self.no_data_rules
            if applies(rule, watched) and rule.quantity in (None, row["quantity"])
        ]

    def _serving(self, row: Row) -> Sequence[Serving]:
        """The devices that served where a datastream is measured; without an asset its own."""
        found = [one for one in self.servings.get(row["asset_id"] or 0, ()) if one.position == row["position"]]
        if found:  # What is stored of before came by the first of them.
            return [replace(found[0], since=self.since), *found[1:]]
        own = row["device_id"], "", row["device"], row["expected_interval"], self.since, self.until
        return [Serving(0, *own, was_taken_away=False, awaited_from=None)]

    async def _values(self, group: Sequence[Row], without: int) -> Mapping[int, list[tuple[datetime, float, int]]]:
        rows = await self.connection.fetch(
            READ_VALUES, [row["id"] for row in group if row["id"] is not None], self.since, self.until,
            MOST_MEASUREMENTS + 1, without,
        )  # fmt: skip
        self.measurements += len(rows)
        values: dict[int, list[tuple[datetime, float, int]]] = {}
        for row in rows:
            values.setdefault(row["datastream_id"], []).append((row["time"], row["value"], row["flags"]))
        return values

    async def _signs(
        self, serving: Serving, values: Sequence[datetime], quantity: str | None
    ) -> Sequence[datetime]:
        """When this device was heard, or a value of the quantity: by its uplinks, and by values without one."""
        uplinks = await self._uplinks_of(serving.device_id)
        signs = {uplinks.received_at(at) for at in values if serving.since <= at < serving.until}
        if quantity is None:
            signs.update(at for at in uplinks.received if serving.since <= at < serving.until)
        # Of anything, or of a quantity that was measured there before, it is waited for since it was assigned.
        awaited_from = serving.awaited_from
        is_awaited = quantity is None or serving.since == awaited_from
        if is_awaited and awaited_from is not None and awaited_from <= min(signs, default=serving.until):
            signs.add(awaited_from)
        return sorted(signs)

    async def _received_at(self, servings: Sequence[Serving], at: datetime) -> datetime:
        serving = next((one for one in servings if one.since <= at < one.until), servings[-1])
        return (await self._uplinks_of(serving.device_id)).received_at(at)

    async def _uplinks_of(self, device_id: int) -> Uplinks:
        found = self._uplinks.get(device_id)
        if found is None:
            rows = await self.connection.fetch(
                READ_UPLINKS, device_id, self.since, self.until, MOST_MEASUREMENTS + 1
            )
            found = Uplinks([row["time"] for row in rows], [row["received_at"] for row in rows])
            self._uplinks[device_id] = found
        return found


def replacements(servings: Sequence[Serving]) -> list[Replaced]:
    """When another device than before began to serve a place."""
    return [
        Replaced(one.since, one.expected_interval)
        for number, one in enumerate(servings)
        if any(former.device_id != one.device_id for former in servings[:number])
    ]
