"""Applications of partners, which get the events of a tenant's devices as ChirpStack v4 sends them, over MQTT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from core.runtime.postgres import Connection, Pool
from registry.keys import KeyWrap, row_owner
from registry.mqtt_accounts import EVENT_TOPICS
from registry.rows import Written, fetch_all, fetch_one

WRITTEN = Written("application_id, name, mqtt_url, mqtt_user, topic_prefix, all_devices, takes_commands")
CREATE = f"""
INSERT INTO application (tenant_id, secret_wrapped, kek_id, sealed_for, {WRITTEN.columns})
VALUES ($1, $2, $3, $4, {WRITTEN.parameters(5)}) RETURNING id
"""
COLUMNS = """a.id, a.tenant_id, a.application_id, a.name, a.mqtt_url, a.mqtt_user, a.topic_prefix, a.all_devices,
a.takes_commands, a.enabled, a.created_at, t.last_published_at, coalesce(t.published, 0) AS published,
coalesce(t.dropped, 0) AS dropped, coalesce(t.waiting, 0) AS waiting, coalesce(t.commands, 0) AS commands,
coalesce(t.commands_refused, 0) AS commands_refused, t.last_error, t.last_error_at"""
STATE = "LEFT JOIN application_state t ON t.application_id = a.id"
# MQTT accesses are applications, too, that are shown elsewhere (`registry.mqtt_accesses`).
LIST = f"SELECT {COLUMNS} FROM application a {STATE} WHERE NOT a.at_our_broker ORDER BY a.id"
READ = f"SELECT {COLUMNS} FROM application a {STATE} WHERE a.id = $1 AND NOT a.at_our_broker"
SET_ENABLED = "UPDATE application SET enabled = $2 WHERE id = $1 AND NOT at_our_broker RETURNING true"
DELETE = "DELETE FROM application WHERE id = $1 AND NOT at_our_broker RETURNING true"
# `all_devices` says whether the application gets the events of all devices or of those in the list.
SET_ALL_DEVICES = "UPDATE application SET all_devices = $2 WHERE id = $1"
CLEAR_DEVICES = "DELETE FROM application_device WHERE application_id = $1"
ADD_DEVICES = """
INSERT INTO application_device (application_id, device_id, tenant_id)
SELECT a.id, d.id, a.tenant_id FROM application a JOIN device d ON d.tenant_id = a.tenant_id
WHERE a.id = $1 AND d.dev_eui = ANY($2::bytea[])
RETURNING device_id
"""
LIST_DEVICES = """
SELECT d.dev_eui FROM application_device l
JOIN application a ON a.id = l.application_id
JOIN device d ON d.id = l.device_id AND d.tenant_id = a.tenant_id
WHERE l.application_id = $1 AND d.dev_eui > $2 ORDER BY d.dev_eui LIMIT $3
"""
READ_SECRETS = f"""
SELECT a.id, a.tenant_id, a.application_id, a.name, a.mqtt_url, a.mqtt_user, a.mqtt_client_id, a.secret_wrapped,
       a.kek_id, a.sealed_for, a.takes_commands, a.at_our_broker, a.key_id, a.person_id, a.personal,
       CASE WHEN a.at_our_broker THEN '{EVENT_TOPICS}/' || t.slug || '/' ELSE a.topic_prefix END AS topic_prefix
FROM application a JOIN tenant t ON t.id = a.tenant_id WHERE a.enabled
"""


@dataclass(frozen=True, slots=True)
class ApplicationRow:
    """An application as its tenant sees it, and how it is doing; never its password.

    `application_id` is in its topics. `waiting` events are still to be published; `dropped` ones never were.
    """

    id: int
    tenant_id: int
    application_id: UUID
    name: str
    mqtt_url: str
    mqtt_user: str | None
    topic_prefix: str
    all_devices: bool
    takes_commands: bool
    enabled: bool
    created_at: datetime
    last_published_at: datetime | None
    published: int
    dropped: int
    waiting: int
    commands: int
    commands_refused: int
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True, slots=True)
class Application:
    """An enabled application as intake needs it. One at our broker is an MQTT access, and has its owner's rights.

    `personal`: it is told of what is of privacy class 2, too.
    """

    id: int
    tenant_id: int
    application_id: UUID
    name: str
    mqtt_url: str
    mqtt_user: str | None
    mqtt_client_id: str
    secret_wrapped: bytes | None
    kek_id: str | None
    sealed_for: UUID
    topic_prefix: str
    takes_commands: bool
    at_our_broker: bool
    key_id: str | None
    person_id: int | None
    personal: bool

    @property
    def topics(self) -> str:
        """What its topics begin with, as far as the application id."""
        return f"{self.topic_prefix}application/{self.application_id}"

    def secret(self, keys: KeyWrap) -> str | None:
        """The password at their broker.

        Raises:
            WrongKek: another key-encryption key sealed it, or for another row.
        """
        if self.secret_wrapped is None:
            return None
        return keys.unwrap_text(self.secret_wrapped, row_owner("application", self.sealed_for))


async def create_application(
    connection: Connection, keys: KeyWrap, tenant_id: int, secret: str | None, application: Mapping[str, Any]
) -> int:
    """A new application's id, of the columns in `WRITTEN`; without an `application_id` it is given one.

    Raises UniqueViolationError when the tenant has one of this name or with this `application_id`.
    """
    values = {"topic_prefix": "", **application, "application_id": application["application_id"] or uuid4()}
    sealed_for = uuid4()
    sealed = keys.wrap_secret(secret, row_owner("application", sealed_for))
    return await connection.fetchval(CREATE, tenant_id, *sealed, sealed_for, *WRITTEN.values(values))


async def list_applications(connection: Connection) -> list[ApplicationRow]:
    """Every visible application, oldest first."""
    return await fetch_all(connection, ApplicationRow, LIST)


async def read_application(connection: Connection, application: int) -> ApplicationRow | None:
    """One application."""
    return await fetch_one(connection, ApplicationRow, READ, application)


async def set_application_enabled(connection: Connection, application: int, *, enabled: bool) -> bool:
    """Suspend or resume, live within 5 s; False when there is no such application."""
    return await connection.fetchval(SET_ENABLED, application, enabled) is True


async def delete_application(connection: Connection, application: int) -> bool:
    """Remove an application: nothing more is published to its broker. False when there is none."""
    return await connection.fetchval(DELETE, application) is True


async def set_devices(connection: Connection, application: int, dev_euis: Sequence[bytes] | None) -> int:
    """Publish to it the events of these devices of its tenant, or of all (None); how many were found."""
    await connection.execute(SET_ALL_DEVICES, application, dev_euis is None)
    await connection.execute(CLEAR_DEVICES, application)
    return len(await connection.fetch(ADD_DEVICES, application, dev_euis)) if dev_euis else 0


async def list_devices(
    connection: Connection, application: int, *, after: bytes = b"", most: int = 100
) -> list[bytes]:
    """The DevEUIs that were listed, in order, beyond `after`."""
    return [row["dev_eui"] for row in await connection.fetch(LIST_DEVICES, application, after, most)]


async def read_enabled_applications(connection: Connection | Pool) -> list[Application]:
    """Every enabled application of every tenant: for the services."""
    return await fetch_all(connection, Application, READ_SECRETS)
