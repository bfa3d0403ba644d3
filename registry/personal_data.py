"""Every table and file store that refers to an asset, a device, a datastream or a person, and what becomes of it.

A test walks the catalogue: a table that refers to one of them and has no line here fails it, and so does a line
whose table is gone. What `ERASED` says is compared with the steps in `erasure_step`. A new table has a line here
and, unless it says why not, a step in its migration.
"""

from dataclasses import dataclass

ERASED = "erased"
"""By steps of `erasure_step`."""


@dataclass(frozen=True, slots=True)
class Export:
    """A statement that the API's role runs under row security; its parameters are these fields of a scope."""

    statement: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """A table or a file store. `export`: how it is taken out, or why not; `erasure`: ERASED, or why nothing is;

    `term`: how long it is kept otherwise.
    """

    name: str
    export: Export | str
    erasure: str
    term: str


WITH_ITS_OWNER = "as long as what it belongs to"
SEALED = "a key or a secret of a device or an account: no data of the person"
IN_TRANSIT = "a copy on its way; the original is exported"
REGISTRY = "as long as its owner keeps it"
NAME_ONLY = "names who did something; the person's own data is exported with the person"
MEASUREMENTS = "TERRITOIRE_KEEP_(PERSONAL_)MEASUREMENTS_MONTHS"
UPLINKS = "TERRITOIRE_KEEP_(PERSONAL_)UPLINKS_MONTHS"


def _of(columns: str, source: str, key: str, parameter: str, sort_order: str = "1") -> Export:
    return Export(f"SELECT {columns} FROM {source} WHERE {key} = ANY($1) ORDER BY {sort_order}", (parameter,))


def _with_spans(columns: str, source: str, sort_order: str) -> Export:
    """Of devices, and of others in the periods in which they served."""
    return Export(
        f"SELECT {columns} FROM {source} t WHERE t.device_id = ANY($1) OR EXISTS (SELECT FROM "
        "unnest($2::int[], $3::tstzrange[]) AS s (id, during) WHERE s.id = t.device_id AND t.time <@ s.during) "
        f"ORDER BY {sort_order}",
        ("device_ids", "span_device_ids", "span_during"),
    )


STORES: tuple[Store, ...] = (
    Store(
        "asset",
        _of(
            "id, tenant_id, kind, name, commune, insee, street, latitude, longitude, attributes, privacy_class, "
            "tags, external_reference, parent_id, created_at, archived_at",
            "asset", "id", "asset_ids",
        ), ERASED, REGISTRY,
    ),
    Store(
        "device",
        _of(
            "id, tenant_id, encode(dev_eui, 'hex') AS dev_eui, encode(join_eui, 'hex') AS join_eui, name, "
            "device_profile_id, activation, enabled, created_at, archived_at",
            "device", "id", "device_ids",
        ), ERASED, REGISTRY,
    ),
    Store(
        "assignment",
        Export(
            "SELECT id, asset_id, device_id, position, lower(during) AS since, upper(during) AS until "
            "FROM assignment WHERE asset_id = ANY($1) OR device_id = ANY($2) ORDER BY 1",
            ("asset_ids", "device_ids"),
        ), ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "datastream",
        _of("id, asset_id, device_id, position, channel, quantity, unit, created_at", "datastream", "id",
            "datastream_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "observation.measurement",
        Export(
            "SELECT datastream_id, time, value, flags FROM measurement t WHERE datastream_id = ANY($1) "
            "OR EXISTS (SELECT FROM unnest($2::int[], $3::tstzrange[]) AS s (id, during) "
            "WHERE s.id = t.datastream_id AND t.time <@ s.during) ORDER BY datastream_id, time",
            ("datastream_ids", "span_datastream_ids", "span_during"),
        ), ERASED, MEASUREMENTS,
    ),
    Store(
        "observation.correction",
        _of("datastream_id, time, value, flags, received_at, in_force", "correction", "datastream_id",
            "datastream_ids", "1, 2"),
        ERASED, MEASUREMENTS,
    ),
    Store(
        "observation.rollup_hour",
        _of("datastream_id, bucket, n, suspects, sum, min, max, first, last, first_at, last_at",
            "rollup_hour", "datastream_id", "datastream_ids", "1, 2"),
        ERASED, "of class 2: TERRITOIRE_KEEP_PERSONAL_HOURS_MONTHS; otherwise for ever",
    ),
    Store(
        "observation.rollup_day",
        _of("datastream_id, bucket, n, suspects, sum, min, max, first, last, first_at, last_at",
            "rollup_day", "datastream_id", "datastream_ids", "1, 2"),
        ERASED, "of class 2: TERRITOIRE_KEEP_PERSONAL_DAYS_MONTHS; otherwise for ever",
    ),
    Store(
        "observation.latest",
        _of("datastream_id, time, value, flags", "latest", "datastream_id", "datastream_ids"),
        ERASED, MEASUREMENTS,
    ),
    Store(
        "observation.expectation",
        "how often a device is expected to speak, by its profile, and the instant of the newest last value",
        "goes with its asset; a trigger takes the instant back with last values that are erased", WITH_ITS_OWNER,
    ),
    Store("observation.dirty", "ids of hours that are to be rolled up", ERASED, "until the next pass of rollups"),
    Store(
        "observation.feed", "ids and instants of what has changed; the values are where they are",
        "shows nothing of what is erased, and goes within seven days", "7 days",
    ),
    Store(
        "observation.fill_day",
        _of("datastream_id, day, seconds, known, at_or_above", "fill_day", "datastream_id", "datastream_ids",
            "1, 2"),
        ERASED, "of class 2 there are none; otherwise for ever",
    ),
    Store(
        "observation.cold_file", "which datastreams a file is of; class 2 is in none",
        "its file is written anew without it before the erasure ends", "of class 0 and 1: for ever",
    ),
    Store(
        "observation.emptying",
        _of("datastream_id, at, not_before, before, after, suspect", "emptying", "datastream_id", "datastream_ids",
            "1, 2"),
        ERASED, "of class 2 there are none; otherwise for ever",
    ),
    Store(
        "observation.fill_day_due", "ids and days of bins that are to be made anew",
        "shows nothing of what is erased, and goes when the day is over", "until the next pass of indicators",
    ),
    Store("observation.forgotten", "until when a term has deleted", ERASED, WITH_ITS_OWNER),
    Store(
        "observation.meter_change",
        _of("id, datastream_id, at, final_index, initial_index, cause, note, created_at", "meter_change",
            "datastream_id", "datastream_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "observation.uplink",
        _with_spans(
            "device_id, time, uplink_id, f_cnt, f_port, encode(payload, 'hex') AS payload, received_at, radio, "
            "status, reason, decoded, codec, codec_version",
            "uplink", "t.device_id, t.time",
        ), ERASED, UPLINKS,
    ),
    Store(
        "observation.reception",
        _with_spans("device_id, time, uplink_id, gateway_id, rssi, snr", "reception", "t.device_id, t.time"),
        ERASED, UPLINKS,
    ),
    Store("observation.uplink_seen", "digests by which duplicates are known", ERASED, "8 days"),
    Store("observation.application_event", IN_TRANSIT, ERASED, "7 days, or until it is published"),
    Store(
        "observation.quarantine", "messages that nobody can read", ERASED, "TERRITOIRE_KEEP_QUARANTINE_DAYS"
    ),
    Store(
        "alert",
        _of(
            "id, asset_id, device_id, datastream_id, severity, message, subject, workflow, opened_at, "
            "acknowledged_at, acknowledged_by, resolved_at, resolved_cause, closed_at, closed_by, closed_reason, "
            "value, threshold",
            "alert", "id", "alert_ids",
        ), ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "alert_event",
        _of("id, alert_id, at, actor, action, note", "alert_event", "alert_id", "alert_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "alert_notice",
        _of("id, alert_id, event, severity, at, message", "alert_notice", "alert_id", "alert_ids", "alert_id, at"),
        ERASED, "TERRITOIRE_KEEP_ALERT_NOTICES_DAYS",
    ),
    Store(
        "alert_notice_recipient",
        _of("notice_id, endpoint_id, alert_id, state, changed_at", "alert_notice_recipient", "alert_id",
            "alert_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store("alert_request", IN_TRANSIT, ERASED, "until alerting has read it"),
    Store("rule_state", "where a rule stands between two values; those are exported", ERASED, WITH_ITS_OWNER),
    Store("deadline", "until when a device is waited for", ERASED, WITH_ITS_OWNER),
    Store(
        "silence",
        _of("id, asset_id, author, reason, starts_at, ends_at", "silence", "asset_id", "asset_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "maintenance_window",
        _of("id, asset_id, author, reason, starts_at, ends_at", "maintenance_window", "asset_id", "asset_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "access_grant",
        _of("id, asset_id, grantee_id, role, granted_by, created_at, revoked_at", "access_grant", "asset_id",
            "asset_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "asset_transfer",
        _of("id, asset_id, asset_kind, asset_name, history, offered_by, created_at, accepted_at, rejected_at, "
            "withdrawn_at", "asset_transfer", "asset_id", "asset_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "eui_claim",
        _of("id, kind, encode(eui, 'hex') AS eui, reason, created_by, created_at, withdrawn_at, decided_at, moved",
            "eui_claim", "encode(eui, 'hex')", "needles"),
        ERASED, REGISTRY,
    ),
    Store(
        "processing",
        Export(
            "SELECT id, asset_id, datastream_id, purpose, basis, keep_hours_months, keep_days_months, stated_by, "
            "stated_at FROM processing WHERE asset_id = ANY($1) OR datastream_id = ANY($2) ORDER BY 1",
            ("asset_ids", "datastream_ids"),
        ), ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "consent",
        Export(
            "SELECT id, asset_id, datastream_id, given_by, given_at, document, until, ended_at, ended_by, "
            "noted_by, noted_at FROM consent WHERE asset_id = ANY($1) OR datastream_id = ANY($2) ORDER BY 1",
            ("asset_ids", "datastream_ids"),
        ), ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "publication",
        _of("id, asset_id, slug, name, quantities, privacy_class, until, published_by, created_at, approved_by, "
            "approved_at, withdrawn_at, withdrawn_by, withdrawn_reason", "publication", "asset_id", "asset_ids"),
        ERASED, REGISTRY,
    ),
    Store(
        "asset_photo",
        _of("id, asset_id, remark, taken_by, taken_at, encode(content, 'base64') AS content", "asset_photo",
            "asset_id", "asset_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "work_order_link",
        Export(
            "SELECT w.id, w.state, w.title, w.description, w.resolution, w.created_at, w.closed_at, l.asset_id "
            "FROM work_order_link l JOIN work_order w ON w.id = l.work_order_id "
            "WHERE l.asset_id = ANY($1) ORDER BY 1",
            ("asset_ids",),
        ), "goes with its work order, which is erased", WITH_ITS_OWNER,
    ),
    Store(
        "kit_item", _of("commissioning_id, item, asset_id, device_id", "kit_item", "asset_id", "asset_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store("energy_baseline", NAME_ONLY, ERASED, REGISTRY),
    Store("waste_round", NAME_ONLY, ERASED, REGISTRY),
    Store("waste_round_outcome", NAME_ONLY, ERASED, WITH_ITS_OWNER),
    Store(
        "waste_round_stop", "of bins, which are no personal data",
        "goes with its asset, which is erased", WITH_ITS_OWNER,
    ),
    Store("kit_template", NAME_ONLY, ERASED, REGISTRY),
    Store("kit_commissioning", NAME_ONLY, ERASED, REGISTRY),
    Store("cost_entry", NAME_ONLY, ERASED, REGISTRY),
    Store("cost_statement", NAME_ONLY, ERASED, REGISTRY),
    Store("work_order", NAME_ONLY, ERASED, REGISTRY),
    Store("work_order_event", NAME_ONLY, ERASED, WITH_ITS_OWNER),
    Store("work_order_photo", NAME_ONLY, ERASED, WITH_ITS_OWNER),
    Store("personal_read", "of which reads today the audit has a line; the lines are exported", ERASED, "1 day"),
    Store("jobs.pgqueuer", IN_TRANSIT, ERASED, "until it is delivered or thrown away"),
    Store("jobs.pgqueuer_log", "what became of a delivery, without its text", ERASED, "7 days"),
    Store(
        "webhook_attempt",
        _of("id, alert_id, at, outcome, status, answer", "webhook_attempt", "alert_id", "alert_ids"),
        ERASED, "TERRITOIRE_KEEP_WEBHOOK_ATTEMPTS_DAYS",
    ),
    Store(
        "webhook_endpoint",
        _of("id, url, description, form, state, created_at", "webhook_endpoint", "id", "endpoint_ids"),
        ERASED, REGISTRY,
    ),
    Store(
        "contact",
        _of("id, team_id, name, rung, after_seconds, created_at", "contact", "id", "contact_ids"),
        ERASED, REGISTRY,
    ),
    Store(
        "downlink",
        _of("id, device_id, f_port, encode(payload, 'hex') AS payload, state, reason, created_at, sent_at",
            "downlink", "device_id", "device_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store("application_downlink", "which application asked for a downlink", ERASED, WITH_ITS_OWNER),
    Store(
        "observation.network_day",
        _of("device_id, day, asset_id, sent, received, with_receptions, receptions, air_time_us", "network_day",
            "device_id", "device_ids", "1, 2"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store("transmission", "the radio's ledger of air time", ERASED, "7 days"),
    Store(
        "lighting_command",
        _of("id, asset_id, device_id, action, requested_by, reason, state, created_at", "lighting_command",
            "device_id", "device_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store("lighting_campaign", NAME_ONLY, ERASED, REGISTRY),
    Store("lighting_campaign_target", "which circuits a campaign goes to", ERASED, WITH_ITS_OWNER),
    Store(
        "lighting_assignment",
        _of("id, asset_id, version_id, assigned_by, assigned_at, ended_by, ended_at", "lighting_assignment",
            "asset_id", "asset_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store("lighting_shadow", "which program a cabinet's clock holds", ERASED, WITH_ITS_OWNER),
    Store("lighting_program_version", NAME_ONLY, ERASED, REGISTRY),
    Store("lighting_bounds", NAME_ONLY, ERASED, REGISTRY),
    Store("lighting_unknown_act", "when a circuit is brought back to its program", ERASED, WITH_ITS_OWNER),
    Store("session", SEALED, ERASED, "8 days after it was closed"),
    Store("dev_nonce", "numbers that a join may use once", ERASED, WITH_ITS_OWNER),
    Store("join_nonce", "the number of the last join", ERASED, WITH_ITS_OWNER),
    Store(
        "device_status",
        _of("device_id, battery, margin, reported_at", "device_status", "device_id", "device_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store("device_decoding_key", SEALED, ERASED, WITH_ITS_OWNER),
    Store("device_tenure", "which tenant had a device when", ERASED, WITH_ITS_OWNER),
    Store("lns_route", "by which network server a device is reached", ERASED, WITH_ITS_OWNER),
    Store("lns_unknown_device", "DevEUIs that are not registered", ERASED, "30 days"),
    Store("multicast_member", "membership of a group of devices", ERASED, WITH_ITS_OWNER),
    Store("application_device", "of which devices an application is told", ERASED, WITH_ITS_OWNER),
    Store("frame_refusal", "how many frames were rejected", ERASED, "30 days"),
    Store("clock_doubt", "how often a clock was doubted", ERASED, WITH_ITS_OWNER),
    Store("codec_difference", "two decoders' readings of frames that are exported", ERASED, "the last hundred"),
    Store("photo_upload", "of which asset a photo is being sent", ERASED, "1 day"),
    Store(
        "measurement_webhook", "which datastreams are sent to an address; the readings are exported",
        ERASED, REGISTRY,
    ),
    Store("application", "whose rights an interface has; what it is told is exported", ERASED, REGISTRY),
    Store("export_job", NAME_ONLY, ERASED, "30 days after its end"),
    Store("export_stream", "which datastreams a file is of; their readings are exported", ERASED, WITH_ITS_OWNER),
    Store("export_schedule", NAME_ONLY, ERASED, REGISTRY),
    Store("export_part", "a file with readings that are exported", ERASED, "1 day after its end"),
    Store("import_job", NAME_ONLY, ERASED, "30 days after its end"),
    Store("import_rejection", "lines of a file that did not go in; its owner has them", ERASED, "30 days"),
    Store("redecode", "jobs that decode again; the frames are exported", ERASED, WITH_ITS_OWNER),
    Store(
        "person",
        _of("id, email, name, created_at, last_login_at, disabled_at", "person", "id", "person_ids"),
        ERASED, REGISTRY,
    ),
    Store(
        "membership",
        _of("person_id, tenant_id, role, extra_rights, created_at", "membership", "person_id", "person_ids"),
        ERASED, WITH_ITS_OWNER,
    ),
    Store(
        "invitation",
        _of("id, email, name, role, invited_by, created_at, expires_at, accepted_at", "invitation", "email",
            "needles"),
        ERASED, "90 days after it has expired",
    ),
    Store("person_session", SEALED, ERASED, "1 day after it has expired"),
    Store("person_identity", "the person's number at their provider of identities", ERASED, WITH_ITS_OWNER),
    Store("password_reset", SEALED, ERASED, "30 days after it has expired"),
    Store("recovery_code", SEALED, ERASED, WITH_ITS_OWNER),
    Store("login_failure", "wrong passwords of an account, counted", ERASED, "1 day"),
    Store("idempotency_key", "an answer that was given, sealed", ERASED, "1 day"),
    Store(
        "audit_line",
        Export(
            "SELECT id, at, actor, action, entity, entity_id, details FROM audit a "
            "WHERE a.entity = 'asset' AND a.entity_id = ANY($1::int[]::text[]) "
            "OR a.entity = 'device' AND lower(a.entity_id) = ANY($2::text[]) "
            "OR a.actor = ANY(SELECT 'personne ' || p FROM unnest($3::int[]) p) "
            "OR a.entity = 'person' AND a.entity_id = ANY($3::int[]::text[]) ORDER BY id",
            ("asset_ids", "needles", "person_ids"),
        ),
        ERASED, "TERRITOIRE_KEEP_AUDIT_MONTHS",
    ),
    Store("audit_detail", "with audit_line", ERASED, "TERRITOIRE_KEEP_AUDIT_MONTHS"),
    Store("audit_pending", "numbers of lines", "numbers of lines that stay", "seconds"),
    Store("audit_seal", "a digest over lines", "the chain has to hold; it names nobody", "with its line"),
    Store("rejected_login", "an address and a minute, of no account", "names no person", "1 day"),
    Store("key_recipient", NAME_ONLY, ERASED, REGISTRY),
    Store("codec_version", NAME_ONLY, ERASED, REGISTRY),
    Store(
        "erasure", "what was asked for in the tenant; the receipt is the person's", ERASED,
        "for ever: it holds numbers and counts, and what it was about only until its end",
    ),
    Store("registry_change", "numbers of what changed", "numbers alone, which caches have to hear of", "1 day"),
    Store("partner_event", "a partner's number of a message", "names nobody", WITH_ITS_OWNER),
)  # fmt: skip

# Outside the tables.
FILES: tuple[Store, ...] = (
    Store("stream FRAMES", IN_TRANSIT, "an erasure ends when what was in it is read", "until it is acknowledged"),
    Store("stream UPLINKS", IN_TRANSIT, "an erasure ends when what was in it is read", "until it is acknowledged"),
    Store("stream MEASUREMENTS", IN_TRANSIT, "emptied up to where it stood: its truth is the table", "1 hour"),
    Store(
        "backups", "copies of the tables",
        "by their term; a restore erases again what the ledger names", "the newest 14, or 30 days",
    ),
    Store(
        "cold files", "readings of class 0 and 1, which exports read (TERRITOIRE_COLD_FOLDER)",
        "by observation.cold_file: written anew without it, and what a crash has left is taken away", "for ever",
    ),
    Store("ledger of erasures", "keyed digests", "it has to outlive the backups; it names nobody", "for ever"),
    Store("logs", "what processes did, with DevEUIs", "by their term", "rotated: 14 days on a server"),
)  # fmt: skip

# Tables whose columns have such names for another reason.
NO_REFERENCE: dict[str, str] = {
    "api_key": "a program's key; a person has a session",
    "export_drop": "`taken_by` is a process",
    "gateway": "`gain_subtracted_by` is a program",
    "multicast_message": "to a group of devices; it says nothing of one",
}


def exports() -> list[tuple[str, Export]]:
    """What is taken out, by the name of its file."""
    return [
        (store.name.partition(".")[2] or store.name, store.export)
        for store in STORES
        if isinstance(store.export, Export)
    ]
