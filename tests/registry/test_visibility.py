"""Who sees what: random worlds in the database; what each role reads there is what the model says, row by row."""

import asyncio
import re
from datetime import datetime, timedelta

from hypothesis import given, settings

from core.runtime.postgres import Connection, connect
from tests.api.plain_states import same_states
from tests.entering import enter_tenant
from tests.registry.worlds import BASE, CELL, DAYS, HOURS, TENANTS, Period, World, expected, worlds

EXAMPLES = 60
EVERYTHING = re.sub(
    r"cell\((\w+)\)",
    r"' ' || (extract(epoch FROM \1 - '2026-11-01T23:00Z'::timestamptz) / 1800)::int",
    """
SELECT 'tenant ' || id - 1 FROM tenant
UNION ALL SELECT 'gateway ' || id - 1 FROM gateway
UNION ALL SELECT 'gateway_state ' || gateway_id - 1 FROM gateway_state
UNION ALL SELECT 'gateway_hour ' || gateway_id - 1 FROM gateway_hour
UNION ALL SELECT 'gateway_air_day ' || gateway_id - 1 FROM gateway_air_day
UNION ALL SELECT 'gateway_token ' || gateway_id - 1 FROM gateway_token
UNION ALL SELECT 'station_order ' || gateway_id - 1 FROM station_order
UNION ALL SELECT 'station_report ' || gateway_id - 1 FROM station_report
UNION ALL SELECT 'station_update ' || tenant_id - 1 FROM station_update
UNION ALL SELECT 'asset_photo ' || asset_id - 1 FROM asset_photo
UNION ALL SELECT 'kit_template ' || tenant_id - 1 FROM kit_template
UNION ALL SELECT 'kit_commissioning ' || tenant_id - 1 FROM kit_commissioning
UNION ALL SELECT 'kit_item ' || tenant_id - 1 FROM kit_item
UNION ALL SELECT 'cost_contributor ' || tenant_id - 1 FROM cost_contributor
UNION ALL SELECT 'cost_period ' || tenant_id - 1 FROM cost_period
UNION ALL SELECT 'cost_item ' || tenant_id - 1 FROM cost_item
UNION ALL SELECT 'cost_entry ' || tenant_id - 1 FROM cost_entry
UNION ALL SELECT 'cost_statement ' || tenant_id - 1 FROM cost_statement
UNION ALL SELECT 'cost_statement_line ' || tenant_id - 1 FROM cost_statement_line
UNION ALL SELECT 'report ' || tenant_id - 1 FROM report
UNION ALL SELECT 'report_month ' || tenant_id - 1 FROM report_month
UNION ALL SELECT 'report_recipient ' || tenant_id - 1 FROM report_recipient
UNION ALL SELECT 'report_sending ' || tenant_id - 1 FROM report_sending
UNION ALL SELECT 'report_identity ' || tenant_id - 1 FROM report_identity
UNION ALL SELECT 'work_order ' || id - 1 FROM work_order
UNION ALL SELECT 'work_order_link ' || tenant_id - 1 FROM work_order_link
UNION ALL SELECT 'work_order_event ' || tenant_id - 1 FROM work_order_event
UNION ALL SELECT 'work_order_photo ' || tenant_id - 1 FROM work_order_photo
UNION ALL SELECT 'mqtt_account ' || gateway_id - 1 FROM mqtt_account
WHERE tenant_id IS NULL
UNION ALL SELECT 'partner_account ' || tenant_id - 1 FROM mqtt_account
WHERE gateway_id IS NULL
UNION ALL SELECT 'outage ' || gateway_id - 1 FROM outage
WHERE what = 'gateway'
UNION ALL SELECT 'gateway_address_change ' || gateway_id - 1 FROM gateway_address_change
UNION ALL SELECT 'transmission ' || downlink_id - 1 FROM transmission
UNION ALL SELECT 'frame_refusal ' || device_id - 1 FROM frame_refusal
UNION ALL SELECT 'device_profile ' || id - 1 FROM device_profile
UNION ALL SELECT 'codec ' || id - 1 FROM codec
UNION ALL SELECT 'codec_version ' || id - 1 FROM codec_version
UNION ALL SELECT 'device_profile_override ' || tenant_id - 1 FROM device_profile_override
UNION ALL SELECT 'redecode ' || tenant_id - 1 FROM redecode
UNION ALL SELECT 'photo_upload ' || tenant_id - 1 FROM photo_upload
UNION ALL SELECT 'photo_upload_part ' || tenant_id - 1 FROM photo_upload_part
UNION ALL SELECT 'import_job ' || tenant_id - 1 FROM import_job
UNION ALL SELECT 'import_part ' || tenant_id - 1 FROM import_part
UNION ALL SELECT 'import_rejection ' || tenant_id - 1 FROM import_rejection
UNION ALL SELECT 'export_job ' || tenant_id - 1 FROM export_job
UNION ALL SELECT 'export_part ' || tenant_id - 1 FROM export_part
UNION ALL SELECT 'export_stream ' || tenant_id - 1 FROM export_stream
UNION ALL SELECT 'export_schedule ' || tenant_id - 1 FROM export_schedule
UNION ALL SELECT 'export_drop ' || tenant_id - 1 FROM export_drop
UNION ALL SELECT 'profile_decoding_key ' || tenant_id - 1 FROM profile_decoding_key
UNION ALL SELECT 'device_decoding_key ' || device_id - 1 FROM device_decoding_key
UNION ALL SELECT 'codec_shadow ' || tenant_id - 1 FROM codec_shadow
UNION ALL SELECT 'codec_difference ' || device_id - 1 FROM codec_difference
UNION ALL SELECT 'alert_rule ' || id - 1 FROM alert_rule
UNION ALL SELECT 'team ' || tenant_id - 1 FROM team
UNION ALL SELECT 'contact ' || tenant_id - 1 FROM contact
UNION ALL SELECT 'alert_calendar ' || tenant_id - 1 FROM alert_calendar
UNION ALL SELECT 'silence ' || tenant_id - 1 FROM silence
UNION ALL SELECT 'maintenance_window ' || asset_id - 1 FROM maintenance_window
UNION ALL SELECT 'api_key ' || tenant_id - 1 FROM api_key
UNION ALL SELECT 'person ' || id - 1 FROM person
UNION ALL SELECT 'membership ' || tenant_id - 1 FROM membership
UNION ALL SELECT 'invitation ' || tenant_id - 1 FROM invitation
UNION ALL SELECT 'event_source ' || tenant_id - 1 FROM event_source
UNION ALL SELECT 'idempotency_key ' || tenant_id - 1 FROM idempotency_key
UNION ALL SELECT 'erasure ' || tenant_id - 1 FROM erasure
UNION ALL SELECT 'key_recipient ' || tenant_id - 1 FROM key_recipient
UNION ALL SELECT 'webhook_endpoint ' || tenant_id - 1 FROM webhook_endpoint
UNION ALL SELECT 'webhook_attempt ' || tenant_id - 1 FROM webhook_attempt
UNION ALL SELECT 'measurement_webhook ' || tenant_id - 1 FROM measurement_webhook
UNION ALL SELECT 'measurement_batch ' || tenant_id - 1 FROM measurement_batch
UNION ALL SELECT 'audit ' || tenant_id - 1 FROM audit
UNION ALL SELECT 'audit_line ' || tenant_id - 1 FROM audit_line
UNION ALL SELECT 'audit_detail ' || tenant_id - 1 FROM audit_detail
UNION ALL SELECT 'lns_source ' || tenant_id - 1 FROM lns_source
UNION ALL SELECT 'lns_source_state ' || tenant_id - 1 FROM lns_source_state
UNION ALL SELECT 'lns_unknown_device ' || tenant_id - 1 FROM lns_unknown_device
UNION ALL SELECT 'application ' || tenant_id - 1 FROM application
UNION ALL SELECT 'application_state ' || tenant_id - 1 FROM application_state
UNION ALL SELECT 'application_device ' || device_id - 1 FROM application_device
UNION ALL SELECT 'multicast_group ' || tenant_id - 1 FROM multicast_group
UNION ALL SELECT 'multicast_message ' || tenant_id - 1 FROM multicast_message
UNION ALL SELECT 'multicast_member ' || device_id - 1 FROM multicast_member
UNION ALL SELECT 'asset ' || id - 1 FROM asset
UNION ALL SELECT 'processing ' || asset_id - 1 FROM processing
UNION ALL SELECT 'consent ' || asset_id - 1 FROM consent
UNION ALL SELECT 'dwelling_day ' || tenant_id - 1 || ' ' || day - '2026-11-02'::date FROM dwelling_day
UNION ALL SELECT 'access_grant ' || id - 1 FROM access_grant
UNION ALL SELECT 'publication ' || asset_id - 1 FROM publication
UNION ALL SELECT 'commune_outline ' || coalesce(tenant_id, 0) - 1 FROM commune_outline
UNION ALL SELECT 'weather_day ' || tenant_id - 1 FROM weather_day
UNION ALL SELECT 'weighing ' || tenant_id - 1 FROM weighing
UNION ALL SELECT 'energy_baseline ' || asset_id - 1 FROM energy_baseline
UNION ALL SELECT 'waste_round ' || tenant_id - 1 FROM waste_round
UNION ALL SELECT 'waste_round_stop ' || asset_id - 1 FROM waste_round_stop
UNION ALL SELECT 'waste_round_outcome ' || asset_id - 1 FROM waste_round_outcome
UNION ALL SELECT 'publication_host ' || tenant_id - 1 FROM publication_host
UNION ALL SELECT 'asset_transfer ' || tenant_id - 1 FROM asset_transfer
UNION ALL SELECT 'eui_claim ' || tenant_id - 1 FROM eui_claim
UNION ALL SELECT 'alert ' || id - 1 FROM alert
UNION ALL SELECT 'alert_event ' || alert_id - 1 FROM alert_event
UNION ALL SELECT 'alert_notice ' || alert_id - 1 FROM alert_notice
UNION ALL SELECT 'alert_notice_recipient ' || alert_id - 1 FROM alert_notice_recipient
UNION ALL SELECT 'lighting_command ' || id - 1 FROM lighting_command
UNION ALL SELECT 'lighting_program ' || id - 1 FROM lighting_program
UNION ALL SELECT 'lighting_program_version ' || id - 1 FROM lighting_program_version
UNION ALL SELECT 'asset_life ' || id - 1 FROM asset_life
UNION ALL SELECT 'lighting_assignment ' || asset_id - 1 FROM lighting_assignment
UNION ALL SELECT 'lighting_program_in_force ' || asset_id - 1 FROM lighting_program_in_force
UNION ALL SELECT 'lighting_campaign ' || id - 1 FROM lighting_campaign
UNION ALL SELECT 'lighting_campaign_target ' || asset_id - 1 FROM lighting_campaign_target
UNION ALL SELECT 'lighting_shadow ' || asset_id - 1 FROM lighting_shadow
UNION ALL SELECT 'lighting_unknown_act ' || asset_id - 1 FROM lighting_unknown_act
UNION ALL SELECT 'lighting_bounds ' || member_id - 1 FROM lighting_bounds
UNION ALL SELECT 'downlink ' || id - 1 FROM downlink
UNION ALL SELECT 'device ' || id - 1 FROM device
UNION ALL SELECT 'device_status ' || device_id - 1 FROM device_status
UNION ALL SELECT 'assignment ' || id - 1 FROM assignment
UNION ALL SELECT 'datastream ' || id - 1 FROM datastream
UNION ALL SELECT 'measurement ' || datastream_id - 1 || cell(time) FROM measurement
UNION ALL SELECT 'correction ' || datastream_id - 1 || cell(time) FROM correction
UNION ALL SELECT 'meter_change ' || datastream_id - 1 || cell(at) FROM meter_change
UNION ALL SELECT 'latest ' || datastream_id - 1 || cell(time) FROM latest
UNION ALL SELECT 'rollup_hour ' || datastream_id - 1 || cell(bucket) FROM rollup_hour
UNION ALL SELECT 'rollup_day ' || datastream_id - 1 || cell(bucket) FROM rollup_day
UNION ALL SELECT 'fill_day ' || datastream_id - 1 || cell(since)
FROM (SELECT datastream_id, day::timestamp AT TIME ZONE 'Europe/Paris' AS since
FROM fill_day
) f
UNION ALL SELECT 'emptying ' || datastream_id - 1 || cell(at) FROM emptying
UNION ALL SELECT 'unrolled ' || datastream_id - 1 || cell(hour) FROM unrolled
UNION ALL SELECT 'feed ' || datastream_id - 1 || cell(time)
FROM read_feed('0', 0, 0, 100000, 100000, '{live}', NULL, NULL, NULL, NULL, NULL) WHERE origin = 'live'
UNION ALL SELECT 'feed_' || origin || ' ' || subject - 1
FROM read_feed('0', 0, 0, 100000, 100000, '{alert,command}', NULL, NULL, NULL, NULL, NULL)
WHERE subject IS NOT NULL
UNION ALL SELECT 'uplink ' || device_id - 1 || cell(time) FROM uplink
UNION ALL SELECT 'network_day ' || device_id - 1 || ' ' || day - '2026-11-02'::date FROM network_day
UNION ALL SELECT 'reception ' || device_id - 1 || cell(time) FROM reception
""",
)
# What the API's role may read besides: nothing of a tenant's (see test_tenancy).
OF_NOBODY = {
    "deployment",
    "personal_term",
    "registry_change",
    "schema_migration",
    "service_release",
    "unknown_gateway",
}
READABLE = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
AND has_any_column_privilege('territoire_api', oid, 'SELECT')
"""
PER_TENANT = """
INSERT INTO device_profile (id, tenant_id, name, vendor, model, codec, expected_interval) OVERRIDING SYSTEM VALUE
SELECT id, id, 'p', 'v', 'm', 'c', (CASE id % 2 WHEN 1 THEN '1 hour' ELSE '90 years' END)::interval FROM tenant;
INSERT INTO codec (id, tenant_id, name) OVERRIDING SYSTEM VALUE SELECT id, id, 'c' FROM tenant;
INSERT INTO codec_version (id, codec_id, version, language, source, sha256, author) OVERRIDING SYSTEM VALUE
SELECT id, id, 1, 'javascript', 'x', sha256('x'), 'a' FROM tenant;
INSERT INTO device_profile_override (tenant_id, device_profile_id, codec_version_id) SELECT id, id, id FROM tenant;
WITH j AS (INSERT INTO import_job (tenant_id, kind, format, coordinates, dry_run, requested_by)
           SELECT id, 'cabinets', 'csv', 'wgs84', false, 'x' FROM tenant RETURNING id, tenant_id),
p AS (INSERT INTO import_part SELECT id, tenant_id, 1, 1, 'x', 'k' FROM j)
INSERT INTO import_rejection SELECT id, tenant_id, 1, 1, '', '', '{}' FROM j;
WITH j AS (INSERT INTO export_job (tenant_id, format, since, until, requested_by, streams)
           SELECT id, 'csv', now() - interval '1 day', now(), 'x', 1 FROM tenant RETURNING id, tenant_id),
p AS (INSERT INTO export_part SELECT id, tenant_id, 0, 1, 'x' FROM j)
INSERT INTO export_stream SELECT id, tenant_id, 1, 1 FROM j;
WITH s AS (INSERT INTO export_schedule (tenant_id, name, format, frequency, covers, file_name, target,
                                        requested_by, next_at)
           SELECT id, 's', 'csv', 'day', 'previous', 'f', 'folder', 'x', now() FROM tenant RETURNING id, tenant_id)
INSERT INTO export_drop (schedule_id, tenant_id, since, until, file_name)
SELECT id, tenant_id, now() - interval '1 day', now(), 'f' FROM s;
INSERT INTO redecode (tenant_id, since, until, requested_by)
SELECT id, now() - interval '1 day', now(), 'a' FROM tenant;
INSERT INTO codec_shadow (tenant_id, device_profile_id, shadow_version_id) SELECT id, id, id FROM tenant;
INSERT INTO profile_decoding_key (tenant_id, device_profile_id, key_wrapped, kek_id)
SELECT id, id, decode(repeat('00', 24), 'hex'), 'k' FROM tenant;
INSERT INTO gateway (id, tenant_id, gateway_id, name) OVERRIDING SYSTEM VALUE
SELECT id, id, int8send(id), 'g' FROM tenant;
INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) SELECT id, 'udp', 'a', now() FROM gateway;
INSERT INTO gateway_hour (gateway_id, hour) SELECT id, now() FROM gateway;
INSERT INTO gateway_air_day SELECT id, '2026-11-02', 1, 1, 1 FROM gateway;
INSERT INTO gateway_address_change (gateway_id, frontend, former, address, refused, first_at, last_at)
SELECT id, 'udp', 'a', 'b', false, now(), now() FROM gateway;
INSERT INTO gateway_token (id, gateway_id, secret_sha256)
SELECT encode(int8send(id), 'hex'), id, sha256('x') FROM gateway;
INSERT INTO station_order (gateway_id, tc_uri) SELECT id, 'wss://a.example:443' FROM gateway;
INSERT INTO station_report (gateway_id, station, model, package, cups_uri, tc_uri, cups_cred_crc, tc_cred_crc,
                            keys)
SELECT id, 's', 'm', 'p', 'c', 't', 1, 2, '{}' FROM gateway;
INSERT INTO station_update (tenant_id, name, package, key_crc, signature, content)
SELECT id, 'u', 'p', 1, 'signature', 'x' FROM tenant;
INSERT INTO mqtt_account (id, gateway_id, tenant_id, name, secret_wrapped, kek_id, sealed_for)
SELECT encode(int8send(id * 2), 'hex'), id, NULL::int, NULL, '\\x00'::bytea, 'k', gen_random_uuid() FROM gateway
UNION ALL SELECT encode(int8send(id * 2 + 1), 'hex'), NULL, id, 'p', '\\x00', 'k', gen_random_uuid() FROM tenant;
INSERT INTO outage (what, gateway_id, began_at) SELECT 'gateway', id, now() FROM gateway;
INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority, downlink_id)
SELECT gateway_id, now(), 868100000, 1, 0, id FROM gateway;
INSERT INTO alert_rule (id, tenant_id, name, kind, severity, message) OVERRIDING SYSTEM VALUE
SELECT id, id, 'silent', 'silence', 'info', 'm' FROM tenant;
INSERT INTO team (id, tenant_id, name) OVERRIDING SYSTEM VALUE SELECT id, id, 'équipe' FROM tenant;
INSERT INTO alert_calendar (tenant_id, name, weekly) SELECT id, 'horaires', '[]' FROM tenant;
INSERT INTO silence (tenant_id, author, reason, ends_at, rule_id)
SELECT id, 'a', 'r', now() + interval '1 h', id FROM tenant;
INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles)
SELECT id::text, id, 'k', sha256('x'), '{read}' FROM tenant;
INSERT INTO person (id, email, name) OVERRIDING SYSTEM VALUE SELECT id, id || '@a.example', 'p' FROM tenant;
INSERT INTO membership (person_id, tenant_id, role) SELECT id, id, 'reader' FROM tenant;
INSERT INTO invitation (tenant_id, token_sha256, email, name, role, invited_by, expires_at)
SELECT id, sha256(id::text::bytea), id || '@b.example', 'p', 'reader', 'a', now() FROM tenant;
INSERT INTO webhook_endpoint (id, tenant_id, url, secret_wrapped, kek_id) OVERRIDING SYSTEM VALUE
SELECT id, id, 'https://a.example/', 'x', 'k' FROM tenant;
INSERT INTO event_source (id, tenant_id, name, secret_wrapped, kek_id) OVERRIDING SYSTEM VALUE
SELECT id, id, 's', 'x', 'k' FROM tenant;
INSERT INTO idempotency_key (tenant_id, principal, key_digest, request_digest)
SELECT id, id::text, sha256('k'), sha256('r') FROM tenant;
INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by)
SELECT id, 'contact', id, 'essai', 'essai' FROM tenant;
INSERT INTO key_recipient (tenant_id, name, public_key, registered_by)
SELECT id, 'k', 'age1' || repeat('q', 58), 'a' FROM tenant;
INSERT INTO contact (tenant_id, team_id, name, webhook_endpoint_id) SELECT id, id, 'c', id FROM tenant;
INSERT INTO webhook_attempt (tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, duration_ms)
SELECT id, id, 'm', 1, 1, now(), 'failed', 1 FROM tenant;
WITH w AS (INSERT INTO measurement_webhook (tenant_id, endpoint_id, person_id, epoch, xid, number, place)
           SELECT id, id, id, 'e', 1, 0, 0 FROM tenant RETURNING id, tenant_id)
INSERT INTO measurement_batch SELECT id, tenant_id, 1, 'msg_1', now(), 1, now(), now() FROM w;
INSERT INTO audit (tenant_id, actor, action, entity, entity_id) SELECT id, 'a', 'b', 'c', 'd' FROM tenant;
INSERT INTO lns_source (id, tenant_id, kind, transport, name, token_sha256) OVERRIDING SYSTEM VALUE
SELECT id, id, 'generic', 'http', 's', sha256('x') FROM tenant;
INSERT INTO lns_source_state (source_id, tenant_id) SELECT id, id FROM tenant;
INSERT INTO lns_unknown_device (source_id, tenant_id, dev_eui, first_seen_at, last_seen_at)
SELECT id, id, '\\xffffffffffffffff', now(), now() FROM tenant;
INSERT INTO application (id, tenant_id, name, mqtt_url) OVERRIDING SYSTEM VALUE
SELECT id, id, 'a', 'mqtt://a.example' FROM tenant;
INSERT INTO application_state (application_id, tenant_id) SELECT id, id FROM tenant;
INSERT INTO multicast_group (id, tenant_id, name, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
OVERRIDING SYSTEM VALUE SELECT id, id, 'g', int4send(id), 'x', 'x', 'k' FROM tenant;
INSERT INTO multicast_message (tenant_id, group_id, slot, f_port, payload, not_after)
SELECT id, id, 0, 1, '', now() FROM tenant;
INSERT INTO asset_transfer (tenant_id, asset_kind, asset_name, history, offered_slug, offered_by)
SELECT t.id, 'bin', 'a', 'stays', r.slug, 'x' FROM tenant t JOIN tenant r ON r.id = t.id % 4 + 1;
INSERT INTO commune_outline (tenant_id, insee, name, polygons, west, south, east, north)
SELECT id, '29103', 'l', '[]', 0, 0, 0, 0 FROM tenant;
INSERT INTO weather_day (tenant_id, station, day, tn, tx) SELECT id, '29075001', '2026-01-01', 1, 2 FROM tenant;
INSERT INTO weighing (tenant_id, ticket, stream, weighed_at, net_kg) SELECT id, 'B', 'glass', now(), 1 FROM tenant;
INSERT INTO lighting_program (id, tenant_id, name) OVERRIDING SYSTEM VALUE SELECT id, id, 'p' FROM tenant;
INSERT INTO lighting_program_version (id, tenant_id, program_id, version, program, author)
OVERRIDING SYSTEM VALUE SELECT id, id, id, 1, '{}', 'a' FROM tenant;
INSERT INTO lighting_campaign (id, tenant_id, name, action, reason, author, author_id, not_after)
OVERRIDING SYSTEM VALUE SELECT id, id, 'c', 'on', 'r', 'a', 'a', now() FROM tenant;
INSERT INTO lighting_bounds (tenant_id, member_id, set_by)
SELECT member_of, id, 'a' FROM tenant WHERE member_of IS NOT NULL;
INSERT INTO kit_template (id, tenant_id, name, version, items, created_by) OVERRIDING SYSTEM VALUE
SELECT id, id, 'k', 1, '[]', 'a' FROM tenant;
INSERT INTO kit_commissioning (id, tenant_id, template_id, site, created_by) OVERRIDING SYSTEM VALUE
SELECT id, id, id, 's', 'a' FROM tenant;
INSERT INTO kit_item (commissioning_id, tenant_id, place, item) SELECT id, id, 0, 'a' FROM tenant;
INSERT INTO cost_contributor (id, tenant_id, name, member_id) OVERRIDING SYSTEM VALUE
SELECT id, id, 'c', id % 4 + 1 FROM tenant;
INSERT INTO cost_period SELECT id, id, '[2026-01-01,)', 1 FROM tenant;
INSERT INTO cost_item (tenant_id, name, first_year, method, amount_cents, shares, counted, per, flat_below,
                       flat_cents, subsidy_percent)
SELECT id, 'i', 2026, 'key', 1, '[]', 'average', 1, 0, 0, 0 FROM tenant;
INSERT INTO cost_entry (tenant_id, contributor_id, basis, day, quantity, origin, made_by)
SELECT id, id, 'assets', '2026-01-01', 1, 'stated', 'a' FROM tenant;
INSERT INTO cost_statement (id, tenant_id, issuer, year, version, total_cents, issued_by) OVERRIDING SYSTEM VALUE
SELECT id, id, 's', 2026, 1, 1, 'a' FROM tenant;
INSERT INTO cost_statement_line SELECT id, id, 1, 1, 'i', 1, 'c', id % 4 + 1, 1, 'f' FROM tenant;
INSERT INTO report (tenant_id, commune, service, month, version, title, summary, figures, pdf)
SELECT id, 'l', 'all', '2026-01-01', 1, 't', '[]', '{}', 'pdf' FROM tenant;
INSERT INTO report_month SELECT id, '2026-01-01' FROM tenant;
INSERT INTO report_recipient (id, tenant_id, team_id, service) OVERRIDING SYSTEM VALUE
SELECT t.id, t.id, (SELECT min(m.id) FROM team m WHERE m.tenant_id = t.id), 'all' FROM tenant t;
INSERT INTO report_sending (recipient_id, month, tenant_id, report_ids)
SELECT id, '2026-01-01', id, '{}' FROM tenant;
INSERT INTO report_identity (tenant_id, name, language) SELECT id, 'n', 'fr' FROM tenant;
INSERT INTO work_order (id, tenant_id, origin, title) OVERRIDING SYSTEM VALUE
SELECT id, id, 'person', 'w' FROM tenant;
INSERT INTO work_order_event (tenant_id, work_order_id, action, version) SELECT id, id, 'opened', 1 FROM tenant;
INSERT INTO work_order_photo (tenant_id, work_order_id, taken_by, content) SELECT id, id, 'a', 'jpeg' FROM tenant;
WITH u AS (INSERT INTO photo_upload (tenant_id, work_order_id, octets, requested_by)
           SELECT id, id, 4, 'a' FROM tenant RETURNING id, tenant_id)
INSERT INTO photo_upload_part (upload_id, tenant_id, number, content) SELECT id, tenant_id, 1, 'jpeg' FROM u;
INSERT INTO publication_host SELECT id, 'https://a.example' FROM tenant;
INSERT INTO eui_claim (tenant_id, holder_id, kind, eui, reason, created_by)
SELECT id, id % 4 + 1, 'gateway', int8send(id), 'r', 'x' FROM tenant;
"""
ADD_TENANTS = "INSERT INTO tenant (id, slug, name, member_of) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $2, $3)"
ADD_ASSETS = """
INSERT INTO asset (id, tenant_id, kind, name, tags, privacy_class) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5, $6)
"""
ADD_WINDOWS = """
INSERT INTO maintenance_window (tenant_id, asset_id, author, reason, starts_at, ends_at)
SELECT tenant_id, id, 'a', 'r', now(), now() + interval '1 h' FROM asset;
INSERT INTO energy_baseline (tenant_id, asset_id, energy_use, depends_on_weather, since, until, works_since,
    works_until, n, intercept, slope, cv_rmse, residual_s, x_mean, x_spread, dof, months, created_by)
SELECT tenant_id, id, 'water', false, '2024-01-01', '2025-01-01', '2025-01-01', '2025-06-01', 12, 1, 0, 0, 0, 0, 0,
    11, '[]', 'a' FROM asset;
INSERT INTO waste_round (tenant_id, created_by, planned_for, kind, threshold, forecast_threshold, forecast_part,
    next_round_on, trucks, truck_volume_l, truck_weight_kg, opens_at, closes_at, service_s, unloading_s, speed_kmh,
    depot_latitude, depot_longitude, outlet_latitude, outlet_longitude, distance_source, seed, iterations, solver,
    bins_before, metres_after, trips)
SELECT id, 'a', '2026-11-02', 'glass_container', 75, 90, 'p50', '2026-11-03', 1, 1, 1, '06:00', '14:00', 0, 0, 30,
    48, -1, 48, -1, 'great_circle', 1, 1, 's', 0, 0, '[]' FROM tenant;
INSERT INTO waste_round_stop (round_id, tenant_id, asset_id, chosen_by, left_reason)
SELECT r.id, r.tenant_id, a.id, 'forced', 'no_room'
FROM waste_round r, asset a WHERE a.tenant_id = r.tenant_id % (SELECT count(*) FROM tenant) + 1;
INSERT INTO waste_round_outcome (tenant_id, round_id, asset_id, outcome, at, recorded_by)
SELECT tenant_id, round_id, asset_id, 'emptied', now(), 'a' FROM waste_round_stop;
INSERT INTO asset_photo (tenant_id, asset_id, taken_by, content) SELECT tenant_id, id, 'a', 'jpeg' FROM asset;
INSERT INTO work_order_link (tenant_id, work_order_id, asset_id)
SELECT tenant_id, tenant_id, min(id) FROM asset GROUP BY tenant_id;
INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
SELECT tenant_id, id, tenant_id, 'a' FROM asset;
INSERT INTO lighting_campaign_target (campaign_id, tenant_id, asset_id, gateway, airtime_us, octets)
SELECT tenant_id, tenant_id, id, 'g', 1, '{}' FROM asset;
INSERT INTO lighting_shadow (asset_id, tenant_id, device_id, holds_program, desired_since)
SELECT id, tenant_id, 1, true, now() FROM asset
"""
ADD_PUBLICATIONS = """
INSERT INTO publication (tenant_id, asset_id, slug, name, quantities, published_by)
SELECT tenant_id, id, 'p' || id, 'p', '{temperature}', 'a' FROM asset WHERE privacy_class < 2
"""
ADD_DEVICES = """
INSERT INTO device (id, tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped,
                    owned_since)
OVERRIDING SYSTEM VALUE VALUES ($1::int, $2::int, int8send($1::int), int8send(1), 'd', $2::int, 0, 'x',
        coalesce($3::timestamptz, '-infinity'))
"""
ADD_STATUSES = """
INSERT INTO lighting_unknown_act (tenant_id, asset_id, device_id, due_at)
SELECT tenant_id, id, 1, now() FROM asset;
INSERT INTO device_status SELECT id, 255, 0, now() FROM device;
INSERT INTO device_decoding_key (device_id, key_wrapped, kek_id)
SELECT id, decode(repeat('00', 24), 'hex'), 'k' FROM device;
INSERT INTO codec_difference (tenant_id, device_profile_id, shadow_version_id, device_id, uplink_id, time, f_port,
                              payload, live, shadow)
SELECT tenant_id, tenant_id, tenant_id, id, gen_random_uuid(), now(), 1, '', '{}', '{}' FROM device;
INSERT INTO frame_refusal (subject, reason, device_id, gateway_id, first_at, last_at)
SELECT int4send(id), 'mic', id, int8send(1), now(), now() FROM device;
INSERT INTO application_device (application_id, device_id, tenant_id) SELECT tenant_id, id, tenant_id FROM device;
INSERT INTO multicast_member SELECT tenant_id, id, tenant_id FROM device
"""
ADD_SERVINGS = """
INSERT INTO assignment (id, tenant_id, asset_id, device_id, position, during) OVERRIDING SYSTEM VALUE
SELECT $1, tenant_id, id, $3::int, $3::int::text, tstzrange($4, $5) FROM asset WHERE id = $2
"""
ADD_DATASTREAMS = """
INSERT INTO datastream (id, tenant_id, asset_id, device_id, position, quantity, unit, stated_class)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4::int, $4::int::text, $5, '1', $6)
"""
# Whether a consent is in force or has ended.
ADD_CONSENTS = """
WITH stated AS (
    INSERT INTO processing (tenant_id, asset_id, purpose, basis, stated_by)
    SELECT tenant_id, id, 'p', 'consent', 'a' FROM asset WHERE id = $1
)
INSERT INTO consent (tenant_id, asset_id, given_by, given_at, document, noted_by, ended_at, ended_by)
SELECT tenant_id, id, 'g', now() - interval '1 day', 'd', 'a', CASE WHEN $2 THEN now() END,
       CASE WHEN $2 THEN 'a' END
FROM asset WHERE id = $1
"""
ADD_GRANTS = """
INSERT INTO access_grant (id, tenant_id, offered_slug, asset_id, tag, asset_kind, everything, role, valid, data,
                          granted_by, revoked_at, revoked_by)
OVERRIDING SYSTEM VALUE
VALUES ($1, $2, (SELECT slug FROM tenant WHERE id = $3), $4, $5, $6, $7, $8,
        tstzrange(now() + $9::interval, now() + $10::interval), tstzrange($11, $12), 'x',
        CASE WHEN $13 THEN now() END, CASE WHEN $13 THEN 'y' END)
"""
ACCEPT_GRANTS = """
UPDATE access_grant SET grantee_id = offered_to, accepted_at = now() WHERE id = ANY($1::int[])
"""
ADD_TENURES = (
    "INSERT INTO device_tenure (device_id, tenant_id, during) VALUES ($1, $2, tstzmultirange(tstzrange($3, $4)))"
)
ADD_EVENTS = """
WITH alert AS (
    INSERT INTO alert (id, tenant_id, rule_id, asset_id, severity, message, condition, workflow, opened_at,
                       resolved_at)
    OVERRIDING SYSTEM VALUE SELECT $1, tenant_id, tenant_id, id, 'info', 'm', 'ok', 'resolved', $3, $3
    FROM asset WHERE id = $2
), downlink AS (
    INSERT INTO downlink (id, tenant_id, device_id, slot, f_port, payload, not_after)
    OVERRIDING SYSTEM VALUE SELECT $1, tenant_id, 1, 0, 1, '', now() FROM asset WHERE id = $2 RETURNING id
)
INSERT INTO lighting_command (id, tenant_id, asset_id, device_id, action, requested_by, downlink_id, not_after,
                              created_at)
OVERRIDING SYSTEM VALUE SELECT $1, a.tenant_id, a.id, 1, 'on', 'x', l.id, now(), $3
FROM asset a, downlink l WHERE a.id = $2
"""
TELL_OF_ALERTS = """
INSERT INTO alert_event (tenant_id, alert_id, at, action) SELECT tenant_id, id, now(), 'opened' FROM alert;
INSERT INTO alert_notice (id, tenant_id, alert_id, event, severity, cadence, at, message, body)
SELECT gen_random_uuid(), tenant_id, id, 'alert.opened', 'info', 'now', now(), 'm', '' FROM alert;
INSERT INTO alert_notice_recipient (notice_id, endpoint_id, tenant_id, alert_id, sequence, message_id, state)
SELECT id, tenant_id, tenant_id, alert_id, 1, id, 'queued' FROM alert_notice
"""
# One of everything for every datastream and device, at each instant and in each bucket.
MAKE_CHUNKS = """
INSERT INTO observation.measurement SELECT 1, t, 1, 0 FROM unnest($1::timestamptz[]) t;
INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status)
SELECT 1, t, gen_random_uuid(), '', t, 'empty' FROM unnest($1::timestamptz[]) t;
INSERT INTO observation.reception SELECT 1, t, gen_random_uuid(), 1, 0, -80, 5 FROM unnest($1::timestamptz[]) t
"""
# What an export may read is what the view shows, to the instant.
UNLIKE_THE_VIEW = """
SELECT datastream_id, time, v.value IS NULL AS is_exported
FROM measurement v FULL JOIN (
    SELECT r.datastream_id, t AS time FROM readable_periods(ARRAY(SELECT generate_series(1, 20))) r,
           unnest($1::timestamptz[]) t WHERE r.periods @> t) e USING (datastream_id, time)
WHERE v.value IS NULL OR e.datastream_id IS NULL
"""
ENTER_WEBHOOK = "SELECT enter_measurement_webhook(id) FROM measurement_webhook WHERE tenant_id = $1"
[OF_FEED] = re.findall(r"SELECT 'feed ' .*\n.*", EVERYTHING)
FORGET = "DELETE FROM observation.measurement; DELETE FROM observation.uplink; DELETE FROM observation.reception"
OBSERVE = """
INSERT INTO observation.measurement SELECT d.id, t, 1, 0 FROM datastream d, unnest($1::timestamptz[]) t;
INSERT INTO observation.feed (xid, n, datastream_ids, times)
SELECT '1'::xid8, count(*), array_agg(d.id), array_agg(t) FROM datastream d, unnest($1::timestamptz[]) t;
INSERT INTO observation.feed (xid, origin, subject)
SELECT '2'::xid8, 'alert', id FROM alert UNION ALL SELECT '2'::xid8, 'command', id FROM lighting_command;
INSERT INTO observation.correction SELECT d.id, t, 2, 0 FROM datastream d, unnest($1::timestamptz[]) t;
INSERT INTO observation.meter_change (datastream_id, at, cause)
SELECT d.id, t, 'manual' FROM datastream d, unnest($1::timestamptz[]) t;
INSERT INTO observation.latest SELECT d.id, max(t), 1, CASE d.id % 5 WHEN 4 THEN 4 ELSE 0 END
FROM datastream d, unnest($1::timestamptz[]) t GROUP BY d.id;
INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status)
SELECT d.id, t, gen_random_uuid(), '', t, 'empty' FROM device d, unnest($1::timestamptz[]) t;
INSERT INTO observation.reception SELECT d.id, t, gen_random_uuid(), 1, 0, -80, 5
FROM device d, unnest($1::timestamptz[]) t;
INSERT INTO observation.network_day
SELECT id, day, NULL, 1, 1, 1, 1, 1, 1, 1, '{1}', '{1}', '{1}', '{1}'
FROM device, unnest('{2026-11-02,2026-11-04}'::date[]) AS day;
INSERT INTO observation.rollup_hour (datastream_id, bucket, n, suspects)
SELECT d.id, t, 1, 0 FROM datastream d, unnest($2::timestamptz[]) t;
INSERT INTO observation.rollup_day (datastream_id, bucket, n, suspects)
SELECT d.id, t, 1, 0 FROM datastream d, unnest($3::timestamptz[]) t;
INSERT INTO observation.fill_day
SELECT d.id, (t AT TIME ZONE 'Europe/Paris')::date, 86400, 1, array_fill(0, ARRAY[100])
FROM datastream d, unnest($3::timestamptz[]) t;
INSERT INTO observation.emptying
SELECT d.id, t, t - interval '1 microsecond', 90, 5, false FROM datastream d, unnest($1::timestamptz[]) t;
INSERT INTO observation.dirty SELECT t, array_agg(d.id) FROM datastream d, unnest($2::timestamptz[]) t GROUP BY t;
INSERT INTO observation.dwelling_day
SELECT d.id, 'c', 'q', (t AT TIME ZONE 'Europe/Paris')::date, t, t + interval '1 day', 10, 1
FROM tenant d, unnest($3::timestamptz[]) t
"""


def at(instant: int) -> datetime:
    return BASE + instant * CELL


def span(period: Period) -> tuple[datetime | None, datetime | None]:
    since, until = period
    return (None if since is None else at(since), None if until is None else at(until))


def following(index: int | None) -> int | None:
    return None if index is None else index + 1


def hours(count: int | None) -> timedelta | None:
    return None if count is None else timedelta(hours=count)


async def fill(connection: Connection, world: World) -> None:
    many = connection.executemany
    await many(ADD_TENANTS, [(i, f"t{i}", following(above)) for i, above in enumerate(world.member_of, 1)])
    await connection.execute(PER_TENANT)
    await many(
        ADD_ASSETS,
        [(i, a.tenant + 1, a.kind, str(i), list(a.tags), a.privacy_class) for i, a in enumerate(world.assets, 1)],
    )
    await connection.execute(ADD_WINDOWS)
    await connection.execute(ADD_PUBLICATIONS)
    await many(
        ADD_DEVICES,
        [
            (i, d.tenant + 1, None if d.owned_since is None else at(d.owned_since))
            for i, d in enumerate(world.devices, 1)
        ],
    )
    await connection.execute(ADD_STATUSES)
    await many(
        ADD_SERVINGS, [(i, s.asset + 1, s.device + 1, *span(s.during)) for i, s in enumerate(world.servings, 1)]
    )
    await many(
        ADD_DATASTREAMS,
        [
            (i, d.tenant + 1, following(d.asset), d.device + 1, d.quantity, d.stated_class)
            for i, d in enumerate(world.datastreams, 1)
        ],
    )
    await many(ADD_CONSENTS, [(asset + 1, has_ended) for asset, has_ended in world.consents.items()])
    await many(
        ADD_GRANTS,
        [
            (
                i,
                g.giver + 1,
                g.grantee + 1,
                following(g.asset),
                g.tag,
                g.kind,
                (g.asset, g.tag, g.kind) == (None, None, None),
                g.role,
                hours(g.valid[0]),
                hours(g.valid[1]),
                *span(g.data),
                g.revoked,
            )
            for i, g in enumerate(world.grants, 1)
        ],
    )
    await connection.execute(ACCEPT_GRANTS, [i for i, g in enumerate(world.grants, 1) if g.accepted])
    await many(ADD_TENURES, [(device + 1, holder + 1, *span(during)) for device, holder, during in world.tenures])
    await many(ADD_EVENTS, [(i, asset + 1, at(instant)) for i, (asset, instant) in enumerate(world.events, 1)])
    await connection.execute(TELL_OF_ALERTS)
    arrays = [[at(i) for i in world.instants], [at(i) for i in HOURS], [at(i) for i in DAYS]]
    for statement in OBSERVE.split(";"):
        used = [array for place, array in enumerate(arrays, 1) if f"${place}" in statement]
        await connection.execute(re.sub(r"\$\d", "$1", statement), *used)


async def read_all(connection: Connection, world: World, me: int | None) -> set[str]:
    await connection.execute("SET LOCAL ROLE territoire_api")
    await enter_tenant(connection, None if me is None else me + 1)
    rows = await connection.fetch(EVERYTHING)
    await same_states(connection)
    assert await connection.fetch(UNLIKE_THE_VIEW, [at(i) for i in world.instants]) == []
    await connection.execute("RESET ROLE")
    assert len(rows) == len({row[0] for row in rows})  # Nothing is shown twice.
    return {row[0] for row in rows}


async def read_pushed(connection: Connection, me: int) -> set[str]:
    """What a webhook of measurements of a tenant is sent, by the door that alerting enters."""
    await connection.execute("SET LOCAL ROLE territoire_alerting")
    assert await connection.fetchval(ENTER_WEBHOOK, me + 1) == "entered"
    rows = await connection.fetch(OF_FEED)
    await connection.execute("RESET ROLE")
    assert len(rows) == len({row[0] for row in rows})
    return {row[0] for row in rows}


def with_feed(rows: set[str]) -> set[str]:
    """Who sees an alert or a command sees in the feed that it has changed."""
    changed = {
        row.replace("lighting_command ", "feed_command ") for row in rows if row.startswith("lighting_command ")
    }
    return rows | changed | {f"feed_{row}" for row in rows if row.startswith("alert ")}


async def compare(connection: Connection, world: World) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await fill(connection, world)
        for me in (None, *range(TENANTS)):
            seen = await read_all(connection, world, me)

            assert seen == with_feed(expected(world, me)), f"tenant {me}"
            if me is not None:
                assert await read_pushed(connection, me) == {row for row in seen if row.startswith("feed ")}
    finally:
        await transaction.rollback()


def test_every_role_reads_exactly_what_the_model_says(database) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(connect(database.admin_url))
        readable = {row[0] for row in runner.run(connection.fetch(READABLE))}
        # The chunks of that week stay: making them anew would take most of the time.
        for statement in MAKE_CHUNKS.split(";"):
            runner.run(connection.execute(statement, [BASE + timedelta(days=day) for day in range(-1, 4)]))
        runner.run(connection.execute(FORGET))

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(worlds())
        def check(world: World) -> None:
            runner.run(compare(connection, world))

        check()
        runner.run(connection.close())

    assert readable - OF_NOBODY == set(re.findall(r"FROM (\w+)(?=\n)", EVERYTHING))
