"""The API as an ASGI application."""

from copy import copy
from functools import cache

from fastapi import Depends, FastAPI
from starlette.datastructures import State

from api import measurement_messages, reference
from api.auth import Authenticator, principal_of
from api.change_stream import ChangeStreams
from api.compression import CompressionMiddleware
from api.console.app import serve_console
from api.console.files import FilesMiddleware
from api.console.live.broadcast import Broadcast
from api.cross_origin import AllowedOrigins, CrossOriginMiddleware
from api.dependencies import Access, Dependencies
from api.entity_tags import EntityTagMiddleware, tagged_paths
from api.forbidden import audit_rejections, record_stale
from api.idempotency import IdempotencyMiddleware
from api.limits import AddressLimitMiddleware
from api.negotiation import ListFormatsMiddleware, lists_of
from api.parameters import reject_unknown_parameters
from api.routes import (
    account,
    alert_rules,
    alerts,
    applications,
    asset_kinds,
    asset_photos,
    asset_states,
    assets,
    audit,
    building_energy,
    building_forms,
    building_rooms,
    building_savings,
    building_water,
    codec_imports,
    codec_lab,
    codecs,
    commune_outlines,
    cost,
    cost_statements,
    daily,
    data_subjects,
    datastreams,
    decoding_keys,
    dev_nonces,
    device_commands,
    device_imports,
    device_profiles,
    device_status,
    device_traffic,
    devices,
    downlink_cancellation,
    energy_baselines,
    eui_claims,
    event_sources,
    export_schedules,
    exports,
    feed,
    gateway_coverage,
    gateway_tokens,
    gateways,
    imports,
    key_exports,
    kit_commissionings,
    kits,
    lighting,
    lighting_all_on,
    lighting_bounds,
    lighting_campaign_decisions,
    lighting_campaigns,
    lighting_energy,
    lighting_history,
    lighting_months,
    lighting_programs,
    lighting_shadows,
    lighting_simulation,
    live_frames,
    lns_sources,
    manual_readings,
    me,
    measurement_webhooks,
    measurements,
    meter_changes,
    mqtt_accesses,
    mqtt_accounts,
    multicast,
    network_coverage,
    oidc,
    people,
    photo_uploads,
    privacy,
    profile_decoding,
    profile_mapping,
    publications,
    redecodes,
    rejections,
    report_settings,
    reports,
    round_candidates,
    round_exports,
    round_withdrawals,
    rounds,
    sensor_health,
    series,
    sessions,
    sharing,
    silences,
    station_updates,
    stream,
    teams,
    tenants,
    trades,
    waste,
    waste_tonnage,
    waste_white_zones,
    weather,
    webhook_delivery,
    webhook_endpoints,
    work_order_photos,
    work_order_reports,
    work_orders,
    years,
)
from core.runtime.bus import Bus
from core.runtime.health import Readiness, bus_check, database_check
from core.runtime.http.errors import handle_errors
from core.runtime.http.head import HeadMiddleware
from core.runtime.http.middleware import OuterMiddleware
from core.runtime.postgres import Pool
from indicators.buildings.form_columns import Forms, read_forms
from ingest.scripts import Workers
from ingest.workers import NoWorkers
from lorawan.gateway.cups import MAX_UPDATE
from registry.keys import KeyWrap

VERSION = "1.0.0"
# In Base64, with what is said of it.
MAX_STATION_UPDATE = MAX_UPDATE // 3 * 4 + (1 << 16)
DESCRIPTION = """
L'API de Territoire : capteurs, actifs, passerelles, mesures, alertes et éclairage public d'une collectivité.

Chaque requête porte une clé, `Authorization: Bearer terr_<id>_<secret>`, ou le cookie de la session d'une
personne, et ne voit que ce qui appartient à sa collectivité et à ses membres, ou qui lui est partagé : tout autre
objet répond 404. Droits : `read` (lire), `field` (intervenir sur le terrain), `manage` (gérer), `lighting`
(commander l'éclairage), `operate` (exploiter le réseau), `people` (inviter), `audit` (lire le journal),
`open_data` (publier), `export_keys` (sortir des clés d'équipements, pour un destinataire enregistré). Les instants
sont en UTC (ISO 8601), les EUI en hexadécimal minuscule, les erreurs en `application/problem+json` (RFC 9457).

Un POST répété sous la même `Idempotency-Key` n'agit qu'une fois, et reçoit la même réponse pendant 24 heures. La
lecture d'un objet donne son `ETag` ; une modification avec `If-Match` ne change rien si l'objet a changé
entre-temps (412).
"""
ROUTERS = (
    sessions.router,
    me.router,
    account.router,
    oidc.router,
    people.router,
    audit.router,
    tenants.router,
    device_profiles.router,
    profile_decoding.router,
    profile_mapping.router,
    decoding_keys.router,
    codecs.router,
    codec_imports.router,
    codec_lab.router,
    redecodes.router,
    gateways.router,
    gateway_coverage.router,
    network_coverage.router,
    gateway_tokens.router,
    eui_claims.router,
    mqtt_accesses.router,
    mqtt_accounts.router,
    asset_states.router,
    asset_kinds.router,
    trades.router,
    waste.router,
    waste_tonnage.router,
    waste_white_zones.router,
    round_candidates.router,  # Before one round, of which `candidates` is none.
    rounds.router,
    round_exports.router,
    round_withdrawals.router,
    assets.router,
    asset_photos.router,
    devices.router,
    device_traffic.router,
    downlink_cancellation.router,
    device_commands.router,
    device_status.router,
    sensor_health.router,
    rejections.router,
    live_frames.router,
    dev_nonces.router,
    device_imports.router,
    imports.router,
    key_exports.router,
    datastreams.router,
    measurements.router,
    feed.router,
    exports.router,
    export_schedules.router,
    stream.router,
    meter_changes.router,
    manual_readings.router,
    daily.router,
    series.router,
    years.router,
    weather.router,
    building_energy.router,
    building_forms.router,
    energy_baselines.router,
    building_savings.router,
    building_rooms.router,
    building_water.router,
    lighting_months.router,
    data_subjects.router,
    alerts.router,
    alert_rules.router,
    silences.router,
    work_orders.router,
    work_order_photos.router,
    photo_uploads.router,
    work_order_reports.router,
    kits.router,
    kit_commissionings.router,
    cost.router,
    cost_statements.router,
    reports.router,
    report_settings.router,
    station_updates.router,
    teams.router,
    event_sources.router,
    webhook_endpoints.router,
    webhook_delivery.router,
    measurement_webhooks.router,
    lns_sources.router,
    applications.router,
    lighting.router,
    lighting_campaigns.router,
    lighting_campaign_decisions.router,
    lighting_all_on.router,
    lighting_shadows.router,
    lighting_bounds.router,
    lighting_energy.router,
    lighting_history.router,
    lighting_programs.router,
    lighting_simulation.router,
    multicast.router,
    sharing.router,
    privacy.router,
    publications.router,
    commune_outlines.router,
)

TAGGED, LISTS = tagged_paths(ROUTERS), lists_of(ROUTERS)
# Octets of a body where more is sent than elsewhere.
LARGER = {
    "/v1/station-updates": MAX_STATION_UPDATE,
    "/v1/assets/*/photos": asset_photos.BODY_MOST,
    "/v1/work-orders/*/photos": asset_photos.BODY_MOST,
    # The page says what is too large; without a script a telephone sends all that its camera took.
    "/equipements/*/photos": 16 << 20,
    "/pose/*": 16 << 20,
    "/interventions/*": 16 << 20,
    # A file of an import, with its form.
    "/imports": 33 << 20,
}


def create_app(
    pool: Pool,
    bus: Bus,
    keys: KeyWrap,
    shards: int,
    codec_workers: Workers | None = None,
    access: Access | None = None,
    forms: Forms | None = None,
) -> FastAPI:
    """The whole application, over a pool of the API's role, a connected bus and workers for codecs."""
    app = copy(without_state())
    app.state = State()
    app.state.platform = Dependencies(
        pool, bus, keys, shards, codec_workers or NoWorkers(), access or Access(), forms=forms or read_forms()
    )
    app.state.changes = ChangeStreams(app.state.platform)
    app.state.broadcast = Broadcast(app.state.platform, app.state.changes)
    app.state.allowed_origins = AllowedOrigins(pool)
    app.state.authenticator = Authenticator(pool)
    app.state.readiness = Readiness({"database": database_check(pool), "bus": bus_check(bus)})
    return app


@cache
def without_state() -> FastAPI:
    """Made once: two hundred routes take a third of a second, and each test has an application of its own."""
    app = FastAPI(
        title="Territoire",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=reference.SERVERS,
        openapi_tags=reference.TAGS,
        generate_unique_id_function=reference.operation_id,
        webhooks=measurement_messages.messages,
    )
    handle_errors(app)
    audit_rejections(app)
    serve_console(app)
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(reject_unknown_parameters)])
    reference.serve_reference(app, LISTS)
    app.add_middleware(ListFormatsMiddleware, lists=LISTS)
    app.add_middleware(EntityTagMiddleware, paths=TAGGED, record_stale=record_stale)
    app.add_middleware(IdempotencyMiddleware, principal_of=principal_of)
    app.add_middleware(FilesMiddleware)
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(AddressLimitMiddleware)
    app.add_middleware(CrossOriginMiddleware)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(OuterMiddleware, larger=LARGER)
    return app
