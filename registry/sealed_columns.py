"""Where the database holds sealed keys and secrets, and their owners: for checks, backups and rotation."""

from dataclasses import dataclass

from core.runtime.postgres import Connection
from registry.keys import MULTIPLE

# Of a row of `t`; a schema of before has no `sealed_for`, and nothing in it names an owner.
SEALED_FOR = "(to_jsonb(t) ->> 'sealed_for')"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values; `owner` is an SQL expression, with what `registry.keys` calls their owners."""

    name: str
    owner: str
    kek: str = "kek_id"
    owner_to_be: str | None = None
    """Where a rotation seals it for another: then nothing is `sealed_for` any more."""


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table with sealed values, named `t` in statements; with `of_device` its device is `d`.

    `key` are the columns of its primary key with their types. `fingerprint`: the column of the fingerprint of all
    its keys, and its owner.
    """

    name: str
    columns: tuple[SealedColumn, ...]
    key: tuple[tuple[str, str], ...] = (("id", "int"),)
    of_device: bool = False
    fingerprint: tuple[str, str] | None = None

    @property
    def source(self) -> str:
        """What follows FROM."""
        return f'"{self.name}" t' + (" JOIN device d ON d.id = t.device_id" if self.of_device else "")


def _of_row(table: str, kind: str = "secret") -> str:
    return f"'{table}/' || {SEALED_FOR} || '/{kind}'"


def _of_session(kind: str) -> str:
    return f"'session/' || encode(d.dev_eui, 'hex') || '/' || encode(t.dev_addr, 'hex') || '/{kind}'"


APP_KEY = "'device/' || encode(t.dev_eui, 'hex') || '/app_key'"
OWN_DECODING_KEY = "'device/' || encode(d.dev_eui, 'hex') || '/decoding_key/' || t.meter_id"
# A default that a device kept is its profile's until it is rotated.
DECODING_KEY = f"coalesce({_of_row('profile_decoding_key')}, {OWN_DECODING_KEY})"
SEALED_TABLES = (
    SealedTable(
        "device", (SealedColumn("app_key_wrapped", APP_KEY),), fingerprint=("app_key_fingerprint", APP_KEY)
    ),
    SealedTable(
        "session",
        tuple(SealedColumn(f"{kind}_wrapped", _of_session(kind)) for kind in ("nwk_s_key", "app_s_key")),
        key=(("id", "bigint"),),
        of_device=True,
        fingerprint=("keys_fingerprint", _of_session("keys")),
    ),
    SealedTable(
        "device_decoding_key",
        (SealedColumn("key_wrapped", DECODING_KEY, owner_to_be=OWN_DECODING_KEY),),
        key=(("device_id", "int"), ("meter_id", "text")),
        of_device=True,
    ),
    SealedTable(
        "profile_decoding_key",
        (SealedColumn("key_wrapped", _of_row("profile_decoding_key")),),
        key=(("tenant_id", "int"), ("device_profile_id", "int")),
    ),
    SealedTable(
        "multicast_group",
        tuple(
            SealedColumn(f"{kind}_wrapped", _of_row("multicast_group", kind))
            for kind in ("nwk_s_key", "app_s_key")
        ),
    ),
    SealedTable(
        "webhook_endpoint",
        (
            SealedColumn("secret_wrapped", _of_row("webhook_endpoint")),
            SealedColumn("previous_secret_wrapped", _of_row("webhook_endpoint"), "previous_kek_id"),
            SealedColumn("url_wrapped", _of_row("webhook_endpoint", "url")),
        ),
    ),
    SealedTable(
        "event_source",
        (
            SealedColumn("secret_wrapped", _of_row("event_source")),
            SealedColumn("previous_secret_wrapped", _of_row("event_source"), "previous_kek_id"),
        ),
    ),
    SealedTable(
        "idempotency_key",
        (
            SealedColumn(
                "answer_wrapped",
                "'idempotency_key/' || t.principal || '/' || encode(t.key_digest, 'hex') || '/answer'",
            ),
        ),
        key=(("principal", "text"), ("key_digest", "bytea")),
    ),
    SealedTable("person", (SealedColumn("totp_wrapped", "'person/' || t.id || '/totp'"),)),
    SealedTable("lns_source", (SealedColumn("secret_wrapped", _of_row("lns_source")),)),
    SealedTable("export_schedule", (SealedColumn("secret_wrapped", _of_row("export_schedule")),)),
    SealedTable("application", (SealedColumn("secret_wrapped", _of_row("application")),)),
    SealedTable(
        "import_part",
        (SealedColumn("content_wrapped", "'import_part/' || t.job_id || '/' || t.number || '/content'"),),
        key=(("job_id", "int"), ("number", "int")),
    ),
    SealedTable("mqtt_account", (SealedColumn("secret_wrapped", _of_row("mqtt_account")),), key=(("id", "text"),)),
)
# Of the schema that is there, which may be one of before.
EXISTING = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name LIKE '%wrapped'
"""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column's values under one key-encryption key: how many, how many of RFC 3394, and one example."""

    table: str
    column: str
    kek_id: str
    rows: int
    unowned: int
    sample: bytes
    owner: str


async def read_sealed(connection: Connection) -> list[Sealed]:
    """Everything that this database holds under a key-encryption key, as far as the role may see it.

    What a rotation of a secret keeps for a day is left out: it may be under the key before.
    """
    there = {(row["table_name"], row["column_name"]) for row in await connection.fetch(EXISTING)}
    found: list[Sealed] = []
    for table in SEALED_TABLES:
        for column in table.columns:
            if (table.name, column.name) not in there or column.kek != "kek_id":
                continue
            rows = await connection.fetch(
                f"SELECT DISTINCT ON (t.kek_id) t.kek_id, t.{column.name} AS sample, "
                f"coalesce({column.owner}, '') AS owner, count(*) OVER of_kek AS rows, "
                f"count(*) FILTER (WHERE octet_length(t.{column.name}) % {MULTIPLE} = 0) OVER of_kek AS unowned "
                f"FROM {table.source} WHERE t.{column.name} IS NOT NULL AND t.kek_id IS NOT NULL "
                "WINDOW of_kek AS (PARTITION BY t.kek_id) ORDER BY t.kek_id"
            )
            found += [
                Sealed(
                    table.name,
                    column.name,
                    row["kek_id"],
                    row["rows"],
                    row["unowned"],
                    row["sample"],
                    row["owner"],
                )
                for row in rows
            ]
    return found
