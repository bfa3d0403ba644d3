"""Class 2: what it is for and on what basis, consents, what would be deleted, and days of ten dwellings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from core.runtime.postgres import Connection
from registry.rows import columns_of, entity, fetch_all, fetch_one, insert


@dataclass(frozen=True, slots=True)
class Subject:
    """What is of a class: an asset with all that hangs on it, or a datastream; exactly one."""

    asset_id: int | None = None
    datastream_id: int | None = None

    @property
    def column(self) -> str:
        """The column that refers to it."""
        return "asset_id" if self.asset_id is not None else "datastream_id"

    @property
    def id(self) -> int | None:
        """Its id."""
        return self.asset_id if self.asset_id is not None else self.datastream_id


@dataclass(frozen=True, slots=True)
class Processing:
    """A line of the register of processing; terms of its own only shorten those of the class."""

    id: int
    asset_id: int | None
    datastream_id: int | None
    purpose: str
    basis: str
    keep_hours_months: int | None
    keep_days_months: int | None
    stated_by: str
    stated_at: datetime


@dataclass(frozen=True, slots=True)
class Consent:
    """Who consented when, by which document; `until`: to when it was given; how it ended."""

    id: int
    asset_id: int | None
    datastream_id: int | None
    given_by: str
    given_at: datetime
    document: str
    until: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    noted_by: str
    noted_at: datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """For how many months what is of class 2 is kept; 0: for ever."""

    measurements: int
    hours: int
    days: int
    uplinks: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What the terms of class 2 delete of what there is: rows, and the instant of the oldest one."""

    readings: int
    hours: int
    days: int
    uplinks: int
    oldest: datetime | None

    @property
    def rows(self) -> int:
        """All of them."""
        return self.readings + self.hours + self.days + self.uplinks


@dataclass(frozen=True, slots=True)
class Proposal:
    """An asset or a datastream of before that would be of class 2 if it were new."""

    asset_id: int | None
    datastream_id: int | None
    name: str
    kind: str | None
    quantity: str | None


@dataclass(frozen=True, slots=True)
class DwellingDay:
    """The mean of a local day over the dwellings of a commune; of an index what each has consumed."""

    tenant_id: int
    commune: str
    quantity: str
    day: date
    dwellings: int
    mean: float


READ_CLASS = """
SELECT tenant_id, privacy_class FROM asset WHERE id = $1
UNION ALL SELECT tenant_id, privacy_class FROM datastream WHERE id = $2
"""
PROCESSING, CONSENT = columns_of(Processing), columns_of(Consent)
# An asset's holds for what hangs on it: the nearest one, of itself first.
UPWARDS = """RECURSIVE above (id, parent_id, depth) AS (
    SELECT a.id, a.parent_id, 0 FROM asset a
    WHERE a.id = coalesce($1::int, (SELECT d.asset_id FROM datastream d WHERE d.id = $2::int))
    UNION ALL
    SELECT p.id, p.parent_id, above.depth + 1 FROM asset p JOIN above ON p.id = above.parent_id
    WHERE above.depth < 16
)
"""
READ_PROCESSING = f"""
WITH {UPWARDS}
SELECT {PROCESSING} FROM (
    SELECT p.*, coalesce(above.depth, -1) AS depth FROM processing p LEFT JOIN above ON above.id = p.asset_id
    WHERE p.tenant_id = current_tenant() AND (p.datastream_id = $2::int OR above.id IS NOT NULL)
) AS p ORDER BY depth LIMIT 1
"""
READ_CONSENTS = f"""
WITH {UPWARDS}
SELECT {CONSENT} FROM consent c
WHERE c.datastream_id = $2::int OR c.asset_id IN (SELECT above.id FROM above) ORDER BY c.given_at, c.id
"""
CREATE_CONSENT = f"""
INSERT INTO consent (tenant_id, asset_id, datastream_id, given_by, given_at, document, until, noted_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {CONSENT}
"""
READ_CONSENT = f"SELECT {CONSENT} FROM consent WHERE id = $1"
END_CONSENT = f"""
UPDATE consent SET ended_at = greatest(now(), given_at), ended_by = $2 WHERE id = $1 AND ended_at IS NULL
RETURNING {CONSENT}
"""
READ_TERMS = f"SELECT {columns_of(Terms)} FROM personal_term"
# A datastream of it that is finest: until when anything finer than days is had. NULL: for its term.
READ_FINE_UNTIL = """
WITH RECURSIVE below (id) AS (
    SELECT $1::int UNION SELECT a.id FROM asset a JOIN below ON a.parent_id = below.id
)
SELECT min(nullif(d.fine_until, '-infinity')), bool_or(d.fine_until = '-infinity')
FROM datastream d WHERE d.asset_id IN (SELECT id FROM below) OR d.id = $2::int
"""
COUNT_LOSS = """
WITH RECURSIVE below (id) AS (
    SELECT $1::int UNION SELECT a.id FROM asset a JOIN below ON a.parent_id = below.id
), stream AS (
    SELECT d.id, d.device_id, d.asset_id FROM datastream d
    WHERE d.asset_id IN (SELECT id FROM below) OR d.id = $2::int
), cut AS (
    SELECT now() - make_interval(months => least(nullif(measurements, 0), nullif(hours, 0))) AS readings,
           now() - make_interval(months => nullif(hours, 0)) AS hours,
           now() - make_interval(months => nullif(days, 0)) AS days,
           now() - make_interval(months => nullif(uplinks, 0)) AS uplinks
    FROM personal_term
), loss AS (
    SELECT 'readings' AS what, m.time AS at FROM cut, stream s JOIN measurement m ON m.datastream_id = s.id
    WHERE m.time < cut.readings
    UNION ALL
    SELECT 'hours', r.bucket FROM cut, stream s JOIN rollup_hour r ON r.datastream_id = s.id
    WHERE r.bucket < cut.hours
    UNION ALL
    SELECT 'days', r.bucket FROM cut, stream s JOIN rollup_day r ON r.datastream_id = s.id
    WHERE r.bucket < cut.days
    UNION ALL
    SELECT 'uplinks', u.time FROM cut, (
        SELECT s.device_id FROM stream s
        UNION SELECT g.device_id FROM assignment g WHERE g.asset_id IN (SELECT id FROM below)
    ) AS s JOIN uplink u ON u.device_id = s.device_id WHERE u.time < cut.uplinks
)
SELECT count(*) FILTER (WHERE what = 'readings') AS readings, count(*) FILTER (WHERE what = 'hours') AS hours,
       count(*) FILTER (WHERE what = 'days') AS days, count(*) FILTER (WHERE what = 'uplinks') AS uplinks,
       min(at) AS oldest
FROM loss
"""
LIST_PROPOSALS = """
SELECT p.asset_id, p.datastream_id, coalesce(a.name, v.name) AS name, a.kind, d.quantity
FROM class_proposals() p LEFT JOIN asset a ON a.id = p.asset_id LEFT JOIN datastream d ON d.id = p.datastream_id
LEFT JOIN device v ON v.id = d.device_id
ORDER BY p.datastream_id NULLS FIRST, p.asset_id LIMIT $1
"""
CONFIRM = "SELECT confirm_class($1, $2, $3::smallint)"
PERSONAL_OF_OTHERS = "SELECT personal_of_others($1)"
MAY_BE_LESS = "SELECT NOT must_be_personal(kind, parent_id) FROM asset WHERE id = $1"
LIST_DAYS = f"""
SELECT {columns_of(DwellingDay)} FROM dwelling_day
WHERE quantity = $1 AND day >= $2 AND day < $3 AND ($4::text IS NULL OR commune = $4)
ORDER BY day, tenant_id, commune LIMIT $5
"""


def _state(subject: Subject) -> str:
    column = subject.column
    return f"""
INSERT INTO processing (tenant_id, {column}, purpose, basis, keep_hours_months, keep_days_months, stated_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ({column}, tenant_id) WHERE {column} IS NOT NULL DO UPDATE
SET purpose = excluded.purpose, basis = excluded.basis, keep_hours_months = excluded.keep_hours_months,
    keep_days_months = excluded.keep_days_months, stated_by = excluded.stated_by, stated_at = now()
RETURNING {PROCESSING}
"""


STATEMENTS = {column: _state(Subject(**{column: 1})) for column in ("asset_id", "datastream_id")}


async def read_class(connection: Connection, subject: Subject) -> tuple[int, int] | None:
    """Whose it is, and its class; None when it is not there or not visible."""
    row = await connection.fetchrow(READ_CLASS, subject.asset_id, subject.datastream_id)
    return None if row is None else (row[0], row[1])


async def state_processing(
    connection: Connection, tenant_id: int, subject: Subject, stated_by: str, given: Mapping[str, Any]
) -> Processing:
    """Set the purpose, the basis and the terms of an asset or a datastream of this tenant's own."""
    values = [given[name] for name in ("purpose", "basis", "keep_hours_months", "keep_days_months")]
    return await insert(
        connection, Processing, STATEMENTS[subject.column], tenant_id, subject.id, *values, stated_by
    )


async def read_processing(connection: Connection, subject: Subject) -> Processing | None:
    """What holds for it: its own, or of what it hangs on the nearest."""
    return await fetch_one(connection, Processing, READ_PROCESSING, subject.asset_id, subject.datastream_id)


async def read_consents(connection: Connection, subject: Subject) -> list[Consent]:
    """Those of it and of what it hangs on, the first one first."""
    return await fetch_all(connection, Consent, READ_CONSENTS, subject.asset_id, subject.datastream_id)


async def create_consent(
    connection: Connection, tenant_id: int, subject: Subject, noted_by: str, given: Mapping[str, Any]
) -> Consent:
    """Note a consent about an asset or a datastream of this tenant's own."""
    values = [given[name] for name in ("given_by", "given_at", "document", "until")]
    return await insert(
        connection,
        Consent,
        CREATE_CONSENT,
        tenant_id,
        subject.asset_id,
        subject.datastream_id,
        *values,
        noted_by,
    )


async def read_consent(connection: Connection, consent_id: int) -> Consent | None:
    """One of this tenant's."""
    return await fetch_one(connection, Consent, READ_CONSENT, consent_id)


async def end_consent(connection: Connection, consent_id: int, ended_by: str) -> Consent | None:
    """End it now; None when there is none of this tenant's, or it has ended."""
    return await fetch_one(connection, Consent, END_CONSENT, consent_id, ended_by)


async def read_terms(connection: Connection) -> Terms:
    """Those in force."""
    return await insert(connection, Terms, READ_TERMS)


async def read_fine_until(connection: Connection, subject: Subject) -> tuple[datetime | None, bool]:
    """Until when anything finer than days is had (None: for its term), and whether it never was."""
    row = await connection.fetchrow(READ_FINE_UNTIL, subject.asset_id, subject.datastream_id)
    return (None, False) if row is None else (row[0], bool(row[1]))


async def count_loss(connection: Connection, subject: Subject) -> Loss:
    """What class 2 would delete of it, and of all that hangs on it, at the next pass of maintenance."""
    row = await connection.fetchrow(COUNT_LOSS, subject.asset_id, subject.datastream_id)
    assert row is not None  # noqa: S101 - An aggregate without GROUP BY is one row.
    return entity(Loss, row)


async def personal_of_others(connection: Connection, dev_euis: Sequence[bytes]) -> set[bytes]:
    """Those of these devices that tell of somebody else's dwelling."""
    return {row[0] for row in await connection.fetch(PERSONAL_OF_OTHERS, dev_euis)}


async def list_proposals(connection: Connection, most: int) -> list[Proposal]:
    """What is there and would be of class 2 if it were new; nobody has confirmed another class."""
    return await fetch_all(connection, Proposal, LIST_PROPOSALS, most)


async def confirm_class(connection: Connection, subject: Subject, privacy_class: int) -> bool:
    """Give it this class, and all that hangs on it when it is 2; False when it is not this tenant's own."""
    return await connection.fetchval(CONFIRM, subject.asset_id, subject.datastream_id, privacy_class) is True


async def may_be_less(connection: Connection, asset_id: int) -> bool:
    """Whether an asset may be of a class below 2: nothing of a dwelling may."""
    return await connection.fetchval(MAY_BE_LESS, asset_id) is True


async def list_dwelling_days(
    connection: Connection, quantity: str, since: date, until: date, commune: str | None, most: int
) -> Sequence[DwellingDay]:
    """Days from `since` to before `until`, by day."""
    return await fetch_all(connection, DwellingDay, LIST_DAYS, quantity, since, until, commune, most)
