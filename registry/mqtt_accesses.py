"""MQTT accesses: applications at our own broker, with the rights of the key or person that made them.

An access is a row of `application` with two accounts of `mqtt_account`: ours publishes below its topics, its
owner's reads there and does nothing else. Its owner's password is renewed by another account.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from core.runtime.postgres import Connection
from registry.keys import KeyWrap, row_owner
from registry.mqtt_accounts import EVENT_TOPICS, Credentials, seal_account, username_of
from registry.rows import fetch_all, fetch_one

# Below the tenant's topics of events.
TOPICS = "application/{}/#"
CREATE = """
INSERT INTO application (tenant_id, application_id, name, mqtt_url, mqtt_user, secret_wrapped, kek_id, sealed_for,
                         takes_commands, at_our_broker, key_id, person_id, personal)
VALUES ($1, $2, $3, '', $4, $5, $6, $7, false, true, $8, $9, $10) RETURNING id
"""
CREATE_ACCOUNT = """
INSERT INTO mqtt_account (id, tenant_id, application_id, name, publishes, reads, secret_wrapped, kek_id,
                          sealed_for)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
SHOWN = f"""
SELECT a.id, a.tenant_id, a.application_id, a.name, a.key_id, a.person_id, p.name AS person, a.personal,
       a.created_at, '{EVENT_TOPICS}/' || t.slug || '/application/' || a.application_id AS topics,
       r.id AS account_id,
       r.created_at AS renewed_at, r.applied_at, f.expires_at AS former_until,
       application_standing(a.id) AS reason, s.last_published_at, coalesce(s.published, 0) AS published,
       coalesce(s.withheld, 0) AS withheld, coalesce(s.dropped, 0) AS dropped, coalesce(s.waiting, 0) AS waiting,
       s.last_error, s.last_error_at
FROM application a JOIN tenant t ON t.id = a.tenant_id
JOIN mqtt_account r ON r.application_id = a.id AND r.reads <> '{{}}' AND r.expires_at IS NULL
LEFT JOIN LATERAL (SELECT max(o.expires_at) AS expires_at FROM mqtt_account o
                   WHERE o.application_id = a.id AND o.reads <> '{{}}' AND o.expires_at > now()) f ON true
LEFT JOIN person p ON p.id = a.person_id
LEFT JOIN application_state s ON s.application_id = a.id
WHERE a.at_our_broker
"""
# Everybody's for who manages the tenant; otherwise one's own.
LIST = f"{SHOWN} AND ($1 OR a.key_id = $2 OR a.person_id = $3) ORDER BY a.id"
READ = f"{SHOWN} AND a.id = $1"
COUNT_OF_OWNER = "SELECT count(*) FROM application WHERE at_our_broker AND (key_id = $1 OR person_id = $2)"
DELETE = "DELETE FROM application WHERE at_our_broker AND id = $1 RETURNING true"
LOCK = "SELECT true FROM application WHERE id = $1 FOR NO KEY UPDATE"
# Two passwords are valid at once, and no more.
DELETE_FORMER = """
DELETE FROM mqtt_account WHERE application_id = $1 AND reads <> '{}' AND expires_at IS NOT NULL
"""
END_ACCOUNT = """
UPDATE mqtt_account SET expires_at = now() + $2::interval
WHERE application_id = $1 AND reads <> '{}' AND expires_at IS NULL
"""
# A key that holds only at some addresses does not hold at a broker, which knows none.
IS_OPEN_KEY = """
SELECT 'read' = ANY(roles) AND addresses = '{}' FROM api_key
WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


@dataclass(frozen=True, slots=True)
class MqttAccess:
    """An access as its owner sees it, without its password. `topics` is what its topics begin with.

    `reason`: why its owner may read no more. `withheld` events were not for its owner to see, `dropped` ones were
    too many, or their device has gone.
    """

    id: int
    tenant_id: int
    application_id: UUID
    name: str
    key_id: str | None
    person_id: int | None
    person: str | None
    personal: bool
    created_at: datetime
    topics: str
    account_id: str
    renewed_at: datetime
    applied_at: datetime | None
    former_until: datetime | None
    reason: str | None
    last_published_at: datetime | None
    published: int
    withheld: int
    dropped: int
    waiting: int
    last_error: str | None
    last_error_at: datetime | None

    @property
    def username(self) -> str:
        """The name of its account at the broker."""
        return username_of(self.account_id, is_partner=True)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose rights an access has: a key's, or a person's."""

    key_id: str | None
    person_id: int | None


async def create_access(
    connection: Connection, keys: KeyWrap, tenant_id: int, owner: Owner, name: str, *, personal: bool
) -> tuple[int, Credentials]:
    """A new access's id, and its account. Raises UniqueViolationError when an application has this name."""
    application_id, sealed_for = uuid4(), uuid4()
    ours, sealed = seal_account(keys, is_partner=True)
    wrapped = keys.wrap_text(ours.password, row_owner("application", sealed_for))
    access = await connection.fetchval(
        CREATE, tenant_id, application_id, name, ours.username, wrapped, keys.kek_id, sealed_for, owner.key_id,
        owner.person_id, personal,
    )  # fmt: skip
    topics = [TOPICS.format(application_id)]
    await connection.execute(CREATE_ACCOUNT, ours.id, tenant_id, access, name, topics, [], *sealed)
    return access, await _create_reader(connection, keys, tenant_id, access, name, topics)


async def _create_reader(
    connection: Connection, keys: KeyWrap, tenant_id: int, access: int, name: str, topics: list[str]
) -> Credentials:
    made, sealed = seal_account(keys, is_partner=True)
    await connection.execute(CREATE_ACCOUNT, made.id, tenant_id, access, name, [], topics, *sealed)
    return made


async def renew_password(
    connection: Connection, keys: KeyWrap, access: MqttAccess, keep_former: timedelta
) -> Credentials:
    """Another account for its owner; the former is valid, too, for as long as is asked."""
    await connection.execute(LOCK, access.id)
    await connection.execute(DELETE_FORMER, access.id)
    await connection.execute(END_ACCOUNT, access.id, keep_former)
    topics = [TOPICS.format(access.application_id)]
    return await _create_reader(connection, keys, access.tenant_id, access.id, access.name, topics)


async def list_accesses(connection: Connection, owner: Owner, *, every: bool) -> list[MqttAccess]:
    """The tenant's accesses, or those of this owner, oldest first."""
    return await fetch_all(connection, MqttAccess, LIST, every, owner.key_id, owner.person_id)


async def read_access(connection: Connection, access: int) -> MqttAccess | None:
    """One of the tenant's accesses, whoever owns it."""
    return await fetch_one(connection, MqttAccess, READ, access)


async def count_accesses(connection: Connection, owner: Owner) -> int:
    """How many this owner has."""
    return await connection.fetchval(COUNT_OF_OWNER, owner.key_id, owner.person_id)


async def delete_access(connection: Connection, access: int) -> bool:
    """Remove an access with its accounts; False when there is none."""
    return await connection.fetchval(DELETE, access) is True


async def is_open_key(connection: Connection, key_id: str) -> bool:
    """Whether it is a key of the tenant that may read, from any address."""
    return await connection.fetchval(IS_OPEN_KEY, key_id) is True
