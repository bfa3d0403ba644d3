"""What is shown to everybody: publications as their tenant keeps them, and as anybody reads them."""

import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from core.runtime.postgres import (
    CheckViolationError,
    Connection,
    ForeignKeyViolationError,
    Pool,
    UniqueViolationError,
)
from registry.rows import Written, columns_of, fetch_all, fetch_one

State = Literal["to_approve", "published", "ended", "withdrawn"]
LONGEST_SLUG = 63
# A name that has neither a letter nor a digit.
NAMELESS = "page"
TRIES = 20


@dataclass(frozen=True, slots=True)
class Publication:
    """Some quantities of an asset, or of a building with what hangs on it, at a public address."""

    id: int
    tenant_id: int
    asset_id: int
    slug: str
    name: str
    includes_below: bool
    quantities: tuple[str, ...]
    delay_seconds: int
    privacy_class: int
    may_embed: bool
    until: datetime | None
    published_by: str
    created_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_reason: str | None

    @property
    def state(self) -> State:
        """What everybody sees of it: something, nothing yet, or nothing any more."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        if self.privacy_class > 0 and self.approved_at is None:
            return "to_approve"
        return "ended" if self.until is not None and self.until <= datetime.now(UTC) else "published"


@dataclass(frozen=True, slots=True)
class PublicPage:
    """What stands above the values; of one that has ended the address and its end alone."""

    slug: str
    ended_at: datetime | None
    name: str | None
    kind: str | None
    commune: str | None
    owner: str | None
    department: str | None
    timezone: str | None
    delay_seconds: int | None
    published_at: datetime | None
    until: datetime | None
    hosts: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class PublicValue:
    """The last reading of a published datastream; without a value nobody knows it since `measured_at`."""

    id: int
    asset: str
    kind: str
    depth: int
    quantity: str
    unit: str
    position: str
    channel: str
    measured_at: datetime | None
    value: float | None


@dataclass(frozen=True, slots=True)
class PublicDay:
    """A local day of a published datastream; `is_broken`: the index fell, or its meter was changed."""

    id: int
    day: date
    n: int
    mean: float | None
    share: float | None
    last: float | None
    is_broken: bool


COLUMNS = columns_of(Publication)
WRITTEN = Written("name, includes_below, quantities, delay_seconds, may_embed")
LIST = f"SELECT {COLUMNS} FROM publication WHERE tenant_id = (SELECT current_tenant()) ORDER BY id DESC LIMIT 1000"
READ = f"SELECT {COLUMNS} FROM publication WHERE id = $1 AND tenant_id = (SELECT current_tenant())"
CREATE = f"""
INSERT INTO publication (tenant_id, asset_id, slug, published_by, until, {WRITTEN.columns})
VALUES ($1, $2, $3, $4, $5, {WRITTEN.parameters(6)}) RETURNING {COLUMNS}
"""
UPDATE = f"""
UPDATE publication SET {WRITTEN.patched(2)}, until = CASE WHEN $8::boolean THEN $9::timestamptz ELSE until END
WHERE id = $1 RETURNING {COLUMNS}
"""
APPROVE = f"UPDATE publication SET approved_by = $2 WHERE id = $1 AND approved_by IS NULL RETURNING {COLUMNS}"
WITHDRAW = f"""
UPDATE publication SET withdrawn_at = now(), withdrawn_by = $2, withdrawn_reason = 'asked'
WHERE id = $1 AND withdrawn_at IS NULL RETURNING {COLUMNS}
"""
LIST_HOSTS = "SELECT host FROM publication_host WHERE tenant_id = (SELECT current_tenant()) ORDER BY host"
SET_HOSTS = """
WITH gone AS (DELETE FROM publication_host WHERE host <> ALL($2::text[]))
INSERT INTO publication_host SELECT $1, host FROM unnest($2) AS host ON CONFLICT DO NOTHING
"""
PAGE = f"SELECT {columns_of(PublicPage)} FROM public_page($1, $2)"
VALUES = f"SELECT {columns_of(PublicValue)} FROM public_values($1, $2)"
DAYS = f"SELECT {columns_of(PublicDay)} FROM public_days($1, $2)"


# What is measured of an asset, or of what hangs on it; what is of class 2 is never offered.
PUBLISHABLE = """
WITH RECURSIVE below (id, is_below) AS (
    SELECT id, false FROM asset WHERE id = $1
    UNION
    SELECT a.id, true FROM asset a JOIN below b ON a.parent_id = b.id
    WHERE a.archived_at IS NULL AND a.privacy_class < 2
)
SELECT d.quantity, bool_and(b.is_below) AS is_below, max(d.privacy_class)::int AS privacy_class
FROM below b JOIN datastream d ON d.asset_id = b.id WHERE d.privacy_class < 2
GROUP BY d.quantity ORDER BY 2, 1
"""


@dataclass(frozen=True, slots=True)
class Publishable:
    """A quantity that could be published; `is_below`: of what hangs on the asset alone."""

    quantity: str
    is_below: bool
    privacy_class: int


class NeverPublished(Exception):
    """It is personal data (class 2)."""


class UnknownAsset(Exception):
    """There is no such asset of the tenant's, or it is archived."""


class SlugTaken(Exception):
    """Another publication has this address, or another tenant's had it."""


class Withdrawn(Exception):
    """It is over; what is withdrawn is published anew, not changed."""


def slug_of(name: str) -> str:
    """An address made of a name: letters without accents, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return (
        "-".join("".join(c if c.isalnum() else " " for c in plain).split())[:LONGEST_SLUG].strip("-") or NAMELESS
    )


def _free_slugs(name: str) -> Iterator[str]:
    first = slug_of(name)
    yield first
    for number in range(2, TRIES):
        yield f"{first[: LONGEST_SLUG - 3]}-{number}"
    yield f"{first[: LONGEST_SLUG - 9]}-{secrets.token_hex(4)}"


async def list_publications(connection: Connection) -> list[Publication]:
    """Those of the tenant, the newest first."""
    return await fetch_all(connection, Publication, LIST)


async def read_publication(connection: Connection, publication_id: int) -> Publication | None:
    """One of the tenant's."""
    return await fetch_one(connection, Publication, READ, publication_id)


async def list_publishable(connection: Connection, asset_id: int) -> list[Publishable]:
    """The quantities of an asset, then those of what hangs on it alone."""
    return await fetch_all(connection, Publishable, PUBLISHABLE, asset_id)


async def create_publication(
    connection: Connection, tenant_id: int, asset_id: int, slug: str | None, who: str, given: Mapping[str, Any]
) -> Publication:
    """Publish; without a slug by the first free one that its name gives. Of class 1 it waits for its approval.

    Raises:
        NeverPublished: the asset is of class 2, or one of these quantities is.
        UnknownAsset: the tenant has no such asset.
        SlugTaken: the address is not free.
    """
    until = given["until"]
    written = WRITTEN.values({name: value for name, value in given.items() if name != "until"})
    for candidate in [slug] if slug is not None else _free_slugs(given["name"]):
        try:
            async with connection.transaction():
                return await _written(connection, CREATE, tenant_id, asset_id, candidate, who, until, *written)
        except SlugTaken:
            continue
    raise SlugTaken


async def _written(connection: Connection, statement: str, *values: Any) -> Any:
    try:
        return await fetch_one(connection, Publication, statement, *values)
    except UniqueViolationError:
        raise SlugTaken from None
    except ForeignKeyViolationError:
        raise UnknownAsset from None
    except CheckViolationError as refused:
        if refused.constraint_name == "publication_is_never_personal":
            raise NeverPublished from None
        if refused.constraint_name == "publication_is_withdrawn":
            raise Withdrawn from None
        raise


async def update_publication(
    connection: Connection, publication_id: int, change: Mapping[str, Any]
) -> Publication | None:
    """The publication after the change; what is shown more, or earlier, is approved anew when it is of class 1.

    Raises:
        NeverPublished: one of these quantities is of class 2.
        UnknownAsset: the tenant has its asset no more.
        Withdrawn: it is over.
    """
    written = WRITTEN.changes({name: value for name, value in change.items() if name != "until"})
    return await _written(connection, UPDATE, publication_id, *written, "until" in change, change.get("until"))


async def approve_publication(connection: Connection, publication_id: int, who: str) -> Publication | None:
    """Approved by somebody of this name; None when it was already."""
    return await _written(connection, APPROVE, publication_id, who)


async def withdraw_publication(connection: Connection, publication_id: int, who: str) -> Publication | None:
    """Nobody reads it any more; None when it was withdrawn already."""
    return await fetch_one(connection, Publication, WITHDRAW, publication_id, who)


async def list_hosts(connection: Connection) -> list[str]:
    """Which sites may embed the tenant's public pages."""
    return [row["host"] for row in await connection.fetch(LIST_HOSTS)]


async def set_hosts(connection: Connection, tenant_id: int, hosts: Sequence[str]) -> None:
    """From now on these sites, and no others."""
    await connection.execute(SET_HOSTS, tenant_id, list(dict.fromkeys(hosts)))


# As anybody reads it: without a tenant, by functions that give what is published and nothing else.


async def read_public_page(at: Connection | Pool, slug: str, preview: int | None = None) -> PublicPage | None:
    """What stands at an address; None: there never was anything.

    `preview`, a publication of the tenant that was entered, is shown before it is approved.
    """
    return await fetch_one(at, PublicPage, PAGE, slug, preview)


async def read_public_values(at: Connection | Pool, slug: str, preview: int | None = None) -> list[PublicValue]:
    """The values at an address, of the asset itself first."""
    return await fetch_all(at, PublicValue, VALUES, slug, preview)


async def read_public_days(at: Connection | Pool, slug: str, preview: int | None = None) -> list[PublicDay]:
    """Thirty days, and the one before them."""
    return await fetch_all(at, PublicDay, DAYS, slug, preview)
