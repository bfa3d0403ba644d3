"""Which service may do what to which table: one login role for each service, and exactly these rights.

They are compared with the database at the end of every migration, and what differs is granted or withdrawn. A
test fails for a table that has no line here; until it has one, no service reaches it. The API's rights, which row
security completes, are granted by the migrations.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from core.runtime.postgres import Connection, InsufficientPrivilegeError

SERVICES: tuple[str, ...] = (
    "gateway_bridge",
    "network",
    "intake",
    "ingest",
    "alerting",
    "lighting",
    "maintenance",
    "indicators",
)
# Owner of the functions that policies call, who sees all tenants. No login once each service has one of its own.
OWNER = "territoire_service"
# Its members see the rows of every tenant, in the tables that they may read. It has no right of its own.
ALL_TENANTS = "territoire_all_tenants"
# What indicators becomes to read as a tenant does, once a door has entered it: with the API's eyes. No login.
AS_TENANT = "territoire_as_tenant"
LOGINS: Mapping[str, str] = {name: f"territoire_{name}" for name in (*SERVICES, "api")}
"""The login role of each service."""

# A wrapped key or a digest of a secret: only `SELECT *` reads these columns, `SELECT` all the others.
SECRET = re.compile(r"_(wrapped|sealed|sha256|hash|fingerprint)$")

EVERYONE: Mapping[str, str] = dict.fromkeys(SERVICES, "SELECT")
LEASES = "SELECT, INSERT, UPDATE"
REPLICAS = "SELECT, INSERT, UPDATE, DELETE"
# A row lock takes the right to update any one column; an identity is none that anybody can set.
LOCKED = "SELECT, UPDATE (id)"

# Table: service: rights. A table that no service touches has an empty line.
RIGHTS: Mapping[str, Mapping[str, str]] = {
    "access_grant": {},
    "alert": {"alerting": "SELECT, INSERT, UPDATE", "lighting": "SELECT", "maintenance": "SELECT"},
    "alert_calendar": {"alerting": "SELECT", "maintenance": "SELECT"},
    "alert_event": {"alerting": "SELECT, INSERT"},
    "alert_notice": {"alerting": "SELECT, INSERT, UPDATE", "maintenance": "SELECT, DELETE"},
    "alert_notice_recipient": {"alerting": "SELECT, INSERT, UPDATE"},
    "alert_request": {
        "gateway_bridge": "INSERT",
        "ingest": "INSERT",
        "lighting": "INSERT",
        "maintenance": "INSERT",
        "alerting": "SELECT, UPDATE (id), DELETE",
    },
    "alert_rule": {
        "alerting": "SELECT, INSERT, UPDATE (id)",
        "lighting": "SELECT",
        "maintenance": "SELECT, INSERT, UPDATE",
    },
    "api_key": {"ingest": "SELECT (tenant_id, roles, expires_at, revoked_at)"},
    "application": {"intake": "SELECT *, UPDATE (id)", "ingest": "SELECT"},
    "application_device": {"intake": "SELECT", "ingest": "SELECT"},
    "application_downlink": {"intake": "SELECT, INSERT"},
    "application_state": {"intake": "SELECT, INSERT, UPDATE"},
    "asset": {
        "ingest": "SELECT",
        "alerting": "SELECT",
        "lighting": LOCKED,
        "maintenance": "SELECT, INSERT, UPDATE",
        "indicators": "SELECT",
    },
    "asset_transfer": {},
    "assignment": {
        "ingest": "SELECT",
        "alerting": "SELECT",
        "lighting": "SELECT",
        "indicators": "SELECT",
        "maintenance": "SELECT, INSERT",
    },
    # A view with the rights of who asks, and the tables under it.
    "audit": {"intake": "INSERT", "maintenance": "INSERT"},
    "audit_detail": {"intake": "INSERT", "maintenance": "SELECT, INSERT"},
    "audit_export": {"maintenance": "SELECT, INSERT, UPDATE"},
    "audit_line": {"intake": "SELECT (id), INSERT", "maintenance": "SELECT, INSERT"},
    "audit_pending": {"intake": "INSERT", "maintenance": "SELECT, INSERT, DELETE"},
    "audit_seal": {"maintenance": "SELECT, INSERT"},
    "audit_start": {"maintenance": "SELECT"},
    "clock_doubt": {"ingest": "SELECT, INSERT, UPDATE"},
    "codec": {"ingest": "SELECT", "maintenance": "SELECT"},
    "codec_difference": {"ingest": "SELECT, INSERT, DELETE"},
    "codec_shadow": {"ingest": "SELECT, INSERT, UPDATE"},
    "codec_version": {
        "ingest": "SELECT, "
        "UPDATE (quarantined_at, quarantine_reason, quarantine_detail, released_at, released_by)",
        "maintenance": "SELECT",
    },
    "commune_outline": {"maintenance": "SELECT, INSERT, UPDATE"},
    "consent": {},
    "contact": {"alerting": "SELECT", "maintenance": "SELECT, INSERT, UPDATE"},
    "cost_contributor": {"indicators": "SELECT"},
    "cost_entry": {"indicators": "SELECT, INSERT"},
    "cost_item": {},
    "cost_period": {"indicators": "SELECT"},
    "cost_statement": {},
    "cost_statement_line": {},
    "datastream": {
        "intake": "SELECT",
        "ingest": "SELECT, INSERT, UPDATE",
        "alerting": "SELECT",
        "lighting": "SELECT",
        "maintenance": "SELECT, INSERT, UPDATE",
        "indicators": "SELECT",
    },
    "deadline": {"alerting": "SELECT, INSERT, UPDATE, DELETE"},
    "asset_photo": {},
    "deployment": EVERYONE,
    "dev_nonce": {"network": "SELECT, INSERT"},
    "device": {
        "network": "SELECT *, UPDATE (slot)",
        "intake": "SELECT",
        "ingest": "SELECT",
        "alerting": LOCKED,
        "lighting": "SELECT",
        "maintenance": "SELECT, INSERT, UPDATE (lns_source_id)",
        "indicators": "SELECT",
    },
    "device_decoding_key": {"ingest": "SELECT *", "maintenance": "SELECT *"},
    "device_profile": {
        "network": "SELECT",
        "intake": "SELECT",
        "ingest": "SELECT",
        "alerting": "SELECT",
        "lighting": "SELECT",
        "maintenance": "SELECT",
        "indicators": "SELECT",
    },
    "device_profile_override": {"ingest": "SELECT", "maintenance": "SELECT"},
    "device_status": {"network": "SELECT, INSERT, UPDATE", "alerting": "SELECT"},
    "device_tenure": {},
    "downlink": {
        "network": "SELECT, UPDATE",
        "intake": "SELECT, INSERT, UPDATE",
        "lighting": "SELECT, INSERT, UPDATE",
    },
    "eui_claim": {},
    # Erased and read by functions of its own.
    "erasure": {"maintenance": "SELECT (id, state, settling_since)"},
    "erasure_step": {},
    "event_source": {},
    "frame_refusal": {
        "network": "SELECT, INSERT, UPDATE",
        "alerting": "SELECT",
        "maintenance": "SELECT, DELETE",
    },
    "gateway": {
        "gateway_bridge": "SELECT, UPDATE (unproved_until)",
        "intake": "SELECT",
        "ingest": "SELECT",
        "alerting": LOCKED,
        "maintenance": "SELECT, INSERT, UPDATE",
        "indicators": "SELECT",
    },
    "gateway_address_change": {"gateway_bridge": "SELECT, INSERT, UPDATE", "maintenance": "SELECT, DELETE"},
    "gateway_air_day": {"indicators": "SELECT, INSERT, DELETE"},
    "gateway_hour": {"gateway_bridge": "SELECT, INSERT, UPDATE", "maintenance": "SELECT, DELETE"},
    "gateway_state": {"gateway_bridge": "SELECT, INSERT, UPDATE", "alerting": "SELECT"},
    "gateway_token": {"gateway_bridge": "SELECT *, INSERT, UPDATE (last_used_at, expires_at), DELETE"},
    "heartbeat": {"gateway_bridge": "SELECT, INSERT, UPDATE", "alerting": "SELECT, INSERT, UPDATE"},
    "idempotency_key": {"maintenance": "SELECT (ctid, started_at), DELETE"},
    "energy_baseline": {},
    "export_drop": {"maintenance": "SELECT, INSERT, UPDATE, DELETE"},
    "export_job": {"maintenance": "SELECT, INSERT, UPDATE, DELETE", "indicators": "SELECT"},
    "export_part": {"maintenance": "SELECT, INSERT, DELETE"},
    "export_schedule": {"maintenance": "SELECT *, UPDATE"},
    "export_stream": {"maintenance": "SELECT, INSERT, UPDATE (periods)"},
    "import_job": {"maintenance": "SELECT, UPDATE, DELETE"},
    "import_part": {"maintenance": "SELECT *, DELETE"},
    "import_rejection": {"maintenance": "SELECT, INSERT"},
    "invitation": {"maintenance": "SELECT (ctid, expires_at), DELETE"},
    "join_nonce": {"network": "SELECT, INSERT, UPDATE"},
    "key_recipient": {},
    "photo_upload": {"maintenance": "SELECT (ctid, created_at), DELETE"},
    "photo_upload_part": {},
    "kit_commissioning": {},
    "kit_item": {},
    "kit_template": {},
    "lighting_assignment": {"lighting": "SELECT", "alerting": "SELECT"},
    "lighting_bounds": {},
    "lighting_campaign": {"lighting": "SELECT, UPDATE", "alerting": "SELECT (id)"},
    "lighting_campaign_target": {"lighting": "SELECT *, UPDATE"},
    "lighting_command": {"lighting": "SELECT, INSERT, UPDATE", "alerting": "SELECT"},
    "lighting_program": {},
    "lighting_program_in_force": {"lighting": "SELECT", "alerting": "SELECT"},
    "lighting_program_version": {"lighting": "SELECT", "alerting": "SELECT"},
    "lighting_shadow": {"lighting": "SELECT *, INSERT, UPDATE, DELETE"},
    # Written by triggers of `downlink`, `multicast_message` and `assignment`.
    "lighting_unknown_act": {"lighting": "SELECT, UPDATE"},
    "lns_route": {"intake": "SELECT, INSERT, UPDATE"},
    "lns_source": {"intake": "SELECT *", "ingest": "SELECT", "maintenance": "SELECT (id, tenant_id)"},
    "lns_source_state": {"intake": "SELECT, INSERT, UPDATE"},
    "lns_unknown_device": {"intake": "SELECT, INSERT, UPDATE", "maintenance": "SELECT, DELETE"},
    "login_failure": {"maintenance": "SELECT, DELETE"},
    "maintenance_window": {"alerting": "SELECT"},
    "measurement_batch": {"alerting": "SELECT, INSERT", "maintenance": "SELECT, DELETE"},
    "measurement_webhook": {
        "alerting": "SELECT, UPDATE (state, stopped_at, reason, withheld, xid, number, place, message_id, "
        "former_xid, former_number, former_place, last_streams, batches, readings, reached_at, next_at, warned_at)"
    },
    "membership": {},
    "mqtt_account": {
        "gateway_bridge": "SELECT (gateway_id, expires_at, proved_at), UPDATE (proved_at)",
        "intake": "SELECT *, UPDATE (applied_at)",
    },
    "multicast_group": {"network": "SELECT *, UPDATE (f_cnt)", "lighting": "SELECT"},
    "multicast_member": {
        "network": "SELECT",
        "lighting": "SELECT, UPDATE (keys_given_at, keys_acknowledged_at)",
    },
    "multicast_message": {
        "network": "SELECT, UPDATE",
        "lighting": "SELECT, INSERT, UPDATE (state, updated_at)",
    },
    "outage": {
        "gateway_bridge": "SELECT, INSERT, UPDATE, DELETE",
        "alerting": "SELECT, INSERT, UPDATE, DELETE",
        "maintenance": "SELECT, DELETE",
        "indicators": "SELECT",
    },
    "partner_event": {},
    "password_reset": {"maintenance": "SELECT (ctid, expires_at), DELETE"},
    "person": {},
    "person_identity": {},
    "personal_read": {"maintenance": "SELECT (ctid, at), DELETE"},
    "person_session": {"maintenance": "SELECT (ctid, expires_at), DELETE"},
    "personal_term": {"maintenance": "SELECT, UPDATE"},
    "processing": {},
    "profile_decoding_key": {"ingest": "SELECT *", "maintenance": "SELECT *"},
    # Read by everybody through functions of its own.
    "publication": {},
    "publication_host": {},
    "report": {"indicators": "SELECT, INSERT", "alerting": "SELECT, UPDATE (sent_at)"},
    "report_identity": {},
    "report_month": {"indicators": "SELECT, INSERT", "alerting": "SELECT"},
    "report_recipient": {"indicators": "SELECT", "alerting": "SELECT"},
    "report_sending": {"alerting": "SELECT, INSERT"},
    "quota": {},
    "quota_default": {},
    "recovery_code": {},
    "redecode": {"maintenance": "SELECT, UPDATE"},
    "registry_change": {
        "gateway_bridge": "SELECT",
        "network": "SELECT",
        "intake": "SELECT",
        "ingest": "SELECT",
        "alerting": "SELECT",
        "maintenance": "SELECT, DELETE",
    },
    "rejected_login": {"maintenance": "SELECT, DELETE"},
    "restore_drill": {"maintenance": "SELECT"},
    "rule_state": {"alerting": "SELECT, INSERT, UPDATE, DELETE"},
    "schema_migration": EVERYONE,
    "seal_secret": {},
    "service_replica": {
        "network": REPLICAS,
        "ingest": REPLICAS,
        "alerting": REPLICAS,
        "maintenance": "SELECT, DELETE",
    },
    "session": {
        "network": "SELECT *, INSERT, UPDATE",
        "intake": "SELECT",
        "lighting": "SELECT",
        "maintenance": "SELECT, DELETE",
    },
    "service_release": dict.fromkeys(SERVICES, REPLICAS),
    "shard_lease": {"network": LEASES, "intake": LEASES, "ingest": LEASES, "alerting": LEASES},
    "silence": {"alerting": "SELECT"},
    "station_order": {"gateway_bridge": "SELECT"},
    "station_report": {"gateway_bridge": "SELECT, INSERT, UPDATE"},
    "station_update": {"gateway_bridge": "SELECT"},
    "team": {"alerting": "SELECT, UPDATE (sensor_health_at)", "maintenance": "SELECT"},
    "tenant": {
        "intake": "SELECT",
        "alerting": "SELECT",
        "lighting": "SELECT (id, department)",
        "maintenance": "SELECT (id, slug, department, webhook_allow_list)",
        "indicators": "SELECT (id, department, closed_at)",
    },
    "transmission": {
        "gateway_bridge": "SELECT, INSERT, UPDATE (status)",
        "maintenance": "SELECT, DELETE",
        "indicators": "SELECT",
    },
    "unknown_gateway": {"gateway_bridge": "SELECT, INSERT, UPDATE", "maintenance": "SELECT, DELETE"},
    "webhook_attempt": {"alerting": "SELECT, INSERT", "maintenance": "SELECT, DELETE"},
    "waste_round": {},
    "waste_round_outcome": {},
    "waste_round_stop": {},
    "weather_day": {"maintenance": "SELECT, INSERT, UPDATE"},
    "weighing": {"maintenance": "SELECT, INSERT, UPDATE"},
    "webhook_endpoint": {
        "alerting": "SELECT *, UPDATE (state, disabled_reason, gone_at, recovered_at, url, url_wrapped, "
        "proved_at, proof_digest)",
        "maintenance": "SELECT, INSERT",
    },
    "webhook_probe": {},
    "work_order": {"alerting": "SELECT, INSERT"},
    "work_order_event": {"alerting": "SELECT, INSERT, UPDATE (sent_at)"},
    "work_order_link": {"alerting": "SELECT, INSERT"},
    "work_order_photo": {},
    "jobs.pgqueuer": {"alerting": "SELECT, INSERT, UPDATE, DELETE", "maintenance": "SELECT"},
    "jobs.pgqueuer_log": {"alerting": "SELECT, INSERT, UPDATE, DELETE", "maintenance": "SELECT, DELETE"},
    "jobs.pgqueuer_schedules": {"alerting": "SELECT, INSERT, UPDATE, DELETE"},
    "jobs.pgqueuer_statistics": {"alerting": "SELECT, INSERT, UPDATE, DELETE", "maintenance": "SELECT, DELETE"},
    "observation.application_event": {
        "intake": "SELECT, UPDATE (not_before), DELETE",
        "ingest": "INSERT",
        "maintenance": "SELECT, DELETE",
    },
    "observation.correction": {"ingest": "SELECT, INSERT, UPDATE", "maintenance": "SELECT, DELETE"},
    "observation.dirty": {
        "ingest": "INSERT",
        "maintenance": "SELECT, INSERT, DELETE",
        "indicators": "SELECT",
    },
    "observation.dwelling_day": {"maintenance": "SELECT, INSERT, DELETE"},
    "observation.dwelling_days_made": {"maintenance": "SELECT, INSERT, UPDATE"},
    "observation.emptying": {"indicators": "SELECT, INSERT, UPDATE, DELETE"},
    # Written by triggers, but for when an asset was last heard; read by a view.
    "observation.expectation": {"ingest": "SELECT (asset_id, last_seen_at), UPDATE (last_seen_at)"},
    "observation.feed": {"ingest": "INSERT", "maintenance": "SELECT, INSERT, DELETE", "indicators": "SELECT"},
    "observation.feed_state": {
        "maintenance": "SELECT, UPDATE",
        "alerting": "SELECT, UPDATE (warned_xid)",
        "indicators": "SELECT",
    },
    "observation.fill_day": {"indicators": "SELECT, INSERT, UPDATE, DELETE"},
    "observation.fill_day_due": {"indicators": "SELECT, INSERT, DELETE"},
    "observation.fill_day_reader": {"indicators": "SELECT, UPDATE"},
    "observation.cold_file": {"maintenance": "SELECT, INSERT, UPDATE, DELETE"},
    "observation.cold_state": {"maintenance": "SELECT, UPDATE (failed_since, reason, chunks)"},
    "observation.forgotten": {"maintenance": "SELECT, INSERT, UPDATE", "indicators": "SELECT"},
    "observation.latest": {
        "ingest": "SELECT, INSERT, UPDATE",
        "alerting": "SELECT",
        "maintenance": "SELECT, INSERT, UPDATE, DELETE",
    },
    "observation.measurement": {
        "intake": "SELECT",
        "ingest": "SELECT, INSERT, UPDATE",
        "alerting": "SELECT",
        "lighting": "SELECT",
        "maintenance": "SELECT, INSERT, UPDATE, DELETE",
        "indicators": "SELECT",
    },
    "observation.meter_change": {"maintenance": "SELECT, DELETE"},
    "observation.network_day": {"indicators": "SELECT, INSERT, DELETE"},
    "observation.packed": {"maintenance": "SELECT, INSERT"},
    "observation.quarantine": {
        "network": "INSERT",
        "intake": "INSERT",
        "ingest": "INSERT",
        "maintenance": "SELECT, DELETE",
    },
    "observation.reception": {
        "intake": "SELECT",
        "ingest": "SELECT, INSERT",
        "alerting": "SELECT",
        "indicators": "SELECT",
    },
    "observation.rollup_day": {
        "alerting": "SELECT",
        "maintenance": "SELECT, INSERT, UPDATE, DELETE",
        "indicators": "SELECT",
    },
    "observation.rollup_hour": {"maintenance": "SELECT, INSERT, UPDATE, DELETE"},
    "observation.uplink": {
        "intake": "SELECT",
        "ingest": "SELECT, INSERT",
        "alerting": "SELECT",
        "lighting": "SELECT",
        "maintenance": "SELECT, UPDATE, DELETE",
        "indicators": "SELECT",
    },
    "observation.uplink_seen": {"ingest": "SELECT, INSERT, UPDATE", "maintenance": "SELECT, DELETE"},
}
# Views that show what the tenant of a transaction may see; the API's are granted by the migrations.
VIEWS: Mapping[str, tuple[str, ...]] = {
    "public.measurement": ("maintenance",),
    "public.meter_change": ("maintenance",),
    "public.rollup_day": ("maintenance",),
    "public.rollup_hour": ("maintenance",),
    "public.unrolled": ("maintenance",),
}
# What is not everybody's to call.
FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "observation.keep_correction": ("ingest",),
    "public.begin_erasure": ("maintenance",),
    "public.record_erasure_digests": ("maintenance",),
    "public.erase_some": ("maintenance",),
    "public.settle_erasure": ("maintenance",),
    "public.end_erasure": ("maintenance",),
    "public.erasure_of_cold": ("maintenance",),
    "public.count_cold_erasure": ("maintenance",),
    "public.lighting_has_circuits": ("lighting",),
    "public.lighting_acting_for": ("lighting",),
    # Of the bulk importer, in the tenant that it has entered.
    "public.commune_at": ("maintenance",),
    "public.raise_last_seen": ("maintenance",),
    # What policies ask, for what maintenance reads through the views above.
    "public.visible_tenants": ("maintenance",),
    "public.reachable_tenants": ("maintenance",),
    "public.opened_asset": ("maintenance",),
    "public.hidden_datastream": ("maintenance",),
    "public.assets_of_kinds": ("maintenance",),
    "public.datastream_profiles": ("maintenance",),
    "public.counter_profiles": ("maintenance",),
    "public.audit_personal_reads": ("alerting", "intake", "maintenance"),
    "public.whole_days": ("maintenance",),
    "public.packed_days": ("maintenance",),
    "public.packed_hours": ("maintenance",),
    "public.packed_indexes": ("maintenance",),
    "public.whole_index_buckets": ("maintenance",),
    "public.enter_export": ("maintenance",),
    "public.export_is_readable": ("maintenance",),
    "public.enter_export_schedule": ("maintenance",),
    "public.enter_report": ("indicators",),
    "public.enter_import": ("maintenance",),
    "public.enter_measurement_webhook": ("alerting",),
    "public.listening_applications": ("ingest",),
    "public.enter_mqtt_access": ("intake",),
    "public.application_standing": ("intake",),
    "public.followed_devices": ("intake",),
    "public.shown_uplinks": ("intake",),
    "public.feed_position": ("alerting",),
    "public.read_feed": ("alerting",),
    "public.quota_room": ("maintenance",),
    "public.readable_periods": ("alerting", "intake", "maintenance"),
    "public.readable_streams": ("maintenance",),
    "public.usual_class": ("maintenance",),
    "public.must_be_personal": ("maintenance",),
    "public.has_data": ("maintenance",),
    "public.import_root_key": ("maintenance",),
    "public.continue_session": ("maintenance",),
    "public.import_session": ("maintenance",),
    "public.record_replacement": ("maintenance",),
    "public.seal_audit": ("maintenance",),
    "public.end_audit_lines": ("maintenance",),
    "observation.drop_chunks_before": ("maintenance",),
    "public.lighting_version_in_force": ("alerting", "lighting"),
    "public.assets_shown_to": ("alerting",),
    "public.lighting_switches": ("lighting",),
    "public.lighting_unreached": ("lighting",),
    "observation.compress_chunk_before": ("maintenance",),
    "observation.make_rollup_parts": ("maintenance",),
    "observation.analyze_rollups": ("maintenance",),
}
# Identities need none.
SEQUENCES: Mapping[str, tuple[str, ...]] = {
    "jobs.pgqueuer_id_seq": ("alerting",),
    "jobs.pgqueuer_log_id_seq": ("alerting",),
    "jobs.pgqueuer_schedules_id_seq": ("alerting",),
    "jobs.pgqueuer_statistics_id_seq": ("alerting",),
}

PRIVILEGE = re.compile(r"(SELECT|INSERT|UPDATE|DELETE)(?: (\*)| \(([\w, ]+)\))?")

READ_TABLES = """
SELECT n.nspname || '.' || c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname IN ('public', 'observation', 'jobs')
  AND (c.relkind IN ('r', 'p') OR 'security_invoker=true' = ANY(c.reloptions))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
GROUP BY n.nspname, c.relname
"""
# Everything that these roles were granted: schemas, tables and sequences, columns, functions.
READ_GRANTED = """
WITH ours AS (SELECT oid, rolname::text AS role FROM pg_roles WHERE rolname = ANY($1::text[]))
SELECT o.role, 'SCHEMA' AS kind, n.nspname::text AS name, NULL::text AS part, x.privilege_type AS privilege
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) AS x JOIN ours o ON o.oid = x.grantee
UNION ALL
SELECT o.role, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname || '.' || c.relname, NULL,
       x.privilege_type
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(c.relacl) AS x JOIN ours o ON o.oid = x.grantee
WHERE n.nspname IN ('public', 'observation', 'jobs')
UNION ALL
SELECT o.role, 'TABLE', n.nspname || '.' || c.relname, a.attname::text, x.privilege_type
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(a.attacl) AS x JOIN ours o ON o.oid = x.grantee
WHERE n.nspname IN ('public', 'observation', 'jobs')
UNION ALL
SELECT o.role, 'FUNCTION', n.nspname || '.' || p.proname, NULL, x.privilege_type
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
CROSS JOIN LATERAL aclexplode(p.proacl) AS x JOIN ours o ON o.oid = x.grantee
WHERE n.nspname IN ('public', 'observation', 'jobs')
"""
READ_ROLES = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1::text[])"
READ_MEMBERS = """
SELECT m.member::regrole::text FROM pg_auth_members m
WHERE m.roleid = $1::text::regrole AND m.member::regrole::text = ANY($2::text[])
"""

# What it has, and who may become it: nobody has its rights without saying so, and by it nobody becomes the API.
IS_AS_TENANT = """
SELECT EXISTS (SELECT FROM pg_auth_members m
               WHERE m.roleid = 'territoire_api'::regrole AND m.member = $1::text::regrole
                 AND m.inherit_option AND NOT m.set_option)
   AND EXISTS (SELECT FROM pg_auth_members m
               WHERE m.roleid = $1::text::regrole AND m.member = $2::text::regrole
                 AND m.set_option AND NOT m.inherit_option)
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One privilege of one role; `part` is a column, None the whole."""

    role: str
    kind: str
    name: str
    part: str | None
    privilege: str

    def statement(self, verb: str) -> str:
        """`verb` is GRANT or REVOKE."""
        part = f" ({self.part})" if self.part is not None else ""
        direction = "TO" if verb == "GRANT" else "FROM"
        return f"{verb} {self.privilege}{part} ON {self.kind} {self.name} {direction} {self.role}"


def rights_of(service: str, table: str, columns: Iterable[str], rights: str) -> Iterable[Right]:
    """What one line of `RIGHTS` says, for a table that has these columns.

    Raises:
        ValueError: the line cannot be read.
    """
    role, named = LOGINS[service], list(columns)
    secret = {column for column in named if SECRET.search(column)}
    if PRIVILEGE.sub("", rights).strip(", "):
        raise ValueError(f"rights of {service} on {table}: {rights}")
    for privilege, whole, parts in PRIVILEGE.findall(rights):
        if parts:
            chosen: list[str | None] = [part.strip() for part in parts.split(",")]
        elif privilege == "SELECT" and secret and not whole:
            chosen = [column for column in named if column not in secret]
        else:
            chosen = [None]
        for part in chosen:
            yield Right(role, "TABLE", table, part, privilege)


def _full(name: str) -> str:
    return name if "." in name else f"public.{name}"


def _wanted(tables: Mapping[str, list[str]]) -> set[Right]:
    found: set[Right] = set()
    for table, by_service in RIGHTS.items():
        name = _full(table)
        if name in tables:
            for service, rights in by_service.items():
                found.update(rights_of(service, name, tables[name], rights))
    for functions, kind, privilege in (
        (VIEWS, "TABLE", "SELECT"), (FUNCTIONS, "FUNCTION", "EXECUTE"), (SEQUENCES, "SEQUENCE", "USAGE"),
    ):  # fmt: skip
        for name, services in functions.items():
            found.update(Right(LOGINS[service], kind, name, None, privilege) for service in services)
    for role, schema in {(right.role, right.name.partition(".")[0]) for right in found}:
        found.add(Right(role, "SCHEMA", schema, None, "USAGE"))
    return found


async def read_tables(connection: Connection) -> dict[str, list[str]]:
    """The columns of every table of ours, by its name with its schema."""
    return {row["name"]: row["columns"] for row in await connection.fetch(READ_TABLES)}


async def missing_rights(connection: Connection) -> list[Right]:
    """What services have to be granted and are not, of the roles that there are."""
    services = [LOGINS[name] for name in SERVICES]
    wanted, granted = await _wanted_and_granted(connection, services)
    return sorted(wanted - granted, key=repr)


async def _wanted_and_granted(connection: Connection, services: list[str]) -> tuple[set[Right], set[Right]]:
    """What this module says that the roles which there are should have, and what they have."""
    known = {row[0] for row in await connection.fetch(READ_ROLES, services)}
    wanted = {right for right in _wanted(await read_tables(connection)) if right.role in known}
    return wanted, {Right(*row.values()) for row in await connection.fetch(READ_GRANTED, services)}


async def apply_rights(connection: Connection, *, withdraw: bool = True) -> int:
    """Grant and withdraw what differs from this module; returns how much did.

    Without `withdraw` nothing is withdrawn: programs of before are alive, and may need it.

    Where the schema's owner may not make roles, those that its administrator has not made are left out, with a
    line in the log: the installation goes on with the login that all services share.
    """
    services = [LOGINS[name] for name in SERVICES]
    known = {row[0] for row in await connection.fetch(READ_ROLES, [*services, ALL_TENANTS])}
    missing = sorted({*services, ALL_TENANTS} - known)
    if missing:
        log.warning("service_roles_missing", roles=missing)
    if ALL_TENANTS not in known:
        return 0
    wanted, granted = await _wanted_and_granted(connection, services)
    members = {row[0] for row in await connection.fetch(READ_MEMBERS, ALL_TENANTS, services)}
    statements = [
        *(f"GRANT {ALL_TENANTS} TO {role}" for role in services if role in known - members),
        *(right.statement("REVOKE") for right in sorted(granted - wanted, key=repr) if withdraw),
        *(right.statement("GRANT") for right in sorted(wanted - granted, key=repr)),
    ]
    statements += await _memberships_as_tenant(connection)
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)
    return len(statements)


async def _memberships_as_tenant(connection: Connection) -> list[str]:
    """What makes indicators read as a tenant, where that is not so yet; nothing where there are no such roles."""
    reader = LOGINS["indicators"]
    if len(await connection.fetch(READ_ROLES, [AS_TENANT, reader])) < 2:  # noqa: PLR2004 - Both of them.
        log.warning("service_roles_missing", roles=[AS_TENANT])
        return []
    if await connection.fetchval(IS_AS_TENANT, AS_TENANT, reader):
        return []
    return [
        f"GRANT territoire_api TO {AS_TENANT} WITH INHERIT TRUE, SET FALSE",
        f"GRANT {AS_TENANT} TO {reader} WITH INHERIT FALSE, SET TRUE",
    ]


async def close_shared_login(connection: Connection) -> bool:
    """End the login that all services had in common, unless some process is still connected by it.

    Returns whether nobody can log in by it any more. A former version of the services goes on until it has been
    replaced; the next migration closes it then.
    """
    if not await connection.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", OWNER):
        return True
    if await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", OWNER):
        log.warning("shared_login_in_use", role=OWNER)
        return False
    try:
        await connection.execute(f"ALTER ROLE {OWNER} NOLOGIN")
    except InsufficientPrivilegeError:
        log.warning("shared_login_stays", role=OWNER)
        return False
    return True
