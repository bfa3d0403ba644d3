"""Quotas: how many objects of each kind a tenant has and may have. The database counts (decision 64)."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.model.quotas import CONSTRAINT, Exceeded
from core.runtime.postgres import Connection, PostgresError, ProgramLimitExceededError
from registry.rows import fetch_all

READ = "SELECT kind, used, most, by_default FROM quotas_of($1)"
SET = "SELECT set_quota($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class Quota:
    """Objects of one kind: how many there are, how many there may be, and how many without a setting."""

    kind: str
    used: int
    most: int
    by_default: int


def exceeded_quota(error: PostgresError) -> Exceeded | None:
    """What was exceeded, when this error says that a quota was."""
    if not isinstance(error, ProgramLimitExceededError) or error.constraint_name != CONSTRAINT:
        return None
    return Exceeded.parse(error.detail or "")


async def read_quotas(connection: Connection, tenant_id: int) -> list[Quota]:
    """The quotas of a tenant that this transaction may see; of any other none."""
    return await fetch_all(connection, Quota, READ, tenant_id)


async def set_quotas(connection: Connection, tenant_id: int, wanted: Mapping[str, int | None]) -> None:
    """Set quotas by kind; None is the default again. In a transaction of the network's operator."""
    await connection.executemany(SET, [(tenant_id, kind, most) for kind, most in wanted.items()])
