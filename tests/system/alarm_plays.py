"""What goes wrong for each alarm, and within how many minutes it rings (`docs/exploitation.md`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.system.alarm_stage import Change, at, gone, instant, once, rising, still

HOUR_S, DAY_S = 3600.0, 86_400.0

OURS = "territoire"
LEDGER_JOB = "kube_cronjob_status_last_successful_time"
# What the machine that plays has of it is not the demonstration's.
ITS_OWN = {f"{OURS}_maintenance_disk_free_bytes": at(90e9), f"{OURS}_maintenance_disk_bytes": at(100e9)}
# Series that are not ours (tests/k8s/foreign_series.yaml), as they are where all is well, by the clock.
FOREIGN: Mapping[str, Callable[[float], float]] = {
    "up{namespace=territoire,app_kubernetes_io_name=gateway-bridge-mqtt}": lambda _: 1,  # One server has none.
    "kubelet_volume_stats_available_bytes{namespace=territoire,persistentvolumeclaim=database-1}": lambda _: 90e9,
    "kubelet_volume_stats_capacity_bytes{namespace=territoire,persistentvolumeclaim=database-1}": lambda _: 100e9,
    # As cert-manager's own monitor has it, whose namespace is that of cert-manager.
    "certmanager_certificate_expiration_timestamp_seconds"
    "{namespace=cert-manager,exported_namespace=territoire,name=api}": lambda _: 60 * DAY_S,
    f"{LEDGER_JOB}{{namespace=territoire,cronjob=erasure-ledger}}": lambda now: now - 1_800,
    f"{LEDGER_JOB}{{namespace=territoire,cronjob=restore-drill}}": lambda now: now - DAY_S,
    "cnpg_collector_up{namespace=territoire,pod=database-1}": lambda _: 1,
    "cnpg_pg_replication_lag{namespace=territoire,pod=database-2}": lambda _: 0.1,
    "cnpg_pg_replication_streaming_replicas{namespace=territoire,pod=database-1}": lambda _: 2,
    "cnpg_pg_stat_archiver_seconds_since_last_archival{namespace=territoire,pod=database-1}": lambda now: now % 30,
    "cnpg_pg_stat_archiver_seconds_since_last_archival{namespace=territoire,pod=database-2}": lambda _: -1,
    "cnpg_collector_pg_wal_archive_status{namespace=territoire,pod=database-1,value=ready}": lambda now: now % 2,
    "cnpg_collector_pg_wal_archive_status{namespace=territoire,pod=database-1,value=done}": lambda _: 9,
    "cnpg_collector_pg_wal_archive_status{namespace=territoire,pod=database-2,value=ready}": lambda _: 0,
    "cnpg_collector_pg_wal_archive_status{namespace=territoire,pod=database-2,value=done}": lambda _: 9,
    "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{namespace=territoire,pod=database-1}":
        lambda now: now - 6 * HOUR_S,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Play:
    """Series that change so make the alarm ring in so many minutes, and not at once."""

    alarm: str
    changes: Mapping[str, Change]
    within_min: int

    def __str__(self) -> str:
        return f"{self.alarm}: {', '.join(self.changes)}"


def _bridge(name: str) -> str:
    return f"{OURS}_gateway_bridge_{name}"


def _beyond(histogram: str, buckets: str) -> Mapping[str, Change]:
    """What is observed from now on lies beyond these buckets."""
    return {f"{histogram}_bucket{{le={buckets}}}": still(), f"{histogram}_bucket{{le=+Inf}}": rising(60)}


LAG, DELAY = f"{OURS}_ingest_lag_seconds", f"{OURS}_alerting_webhook_delay_seconds"
LE_10 = "0.05|0.1|0.2|0.3|0.5|0.75|1.0|2.0|5.0|10.0"
MAINTENANCE, ALERTING = f"{OURS}_maintenance", f"{OURS}_alerting"
PROCESSES = (
    "gateway-bridge", "network", "intake", "ingest", "alerting", "lighting", "maintenance", "indicators", "api",
)  # fmt: skip
VOLUME = "persistentvolumeclaim=database-1"

PLAYS = (
    Play("AucuneTrame", {_bridge("uplinks_total{result=forwarded}"): still()}, 17),
    Play("PasserelleMuette", {_bridge("gateway_last_seen_timestamp_seconds"): still()}, 18),
    Play("PasserellesMuettesEnNombre", {_bridge("gateway_last_seen_timestamp_seconds"): still()}, 18),
    Play("DatagrammesPerdus", {_bridge("socket_drops_total"): rising(10)}, 13),
    Play("TramesEcartees", {_bridge("uplinks_total{result=queue_full}"): rising(10)}, 4),
    Play("PasserelleUsurpee", {_bridge("gateway_address_changes_total{verdict=refused}"): once()}, 2),
    Play("TempsDEmissionEpuise", {_bridge("duty_cycle_ratio"): at(0.95)}, 12),
    Play("ReponsesHorsDelai", {f"{OURS}_network_downlinks_total{{outcome=too_late}}": rising(600)}, 22),
    Play("PartSansProprietaire", {f"{OURS}_network_shards_owned": at(3)}, 3),
    Play("PartSansProprietaire", {f"{OURS}_ingest_shards_owned": gone()}, 8),
    Play("PartSansProprietaire", {f"{ALERTING}_shards_owned": at(3)}, 8),
    Play("PartSansProprietaire", {f"{ALERTING}_shards_owned": gone()}, 13),
    Play("ArriereDuBus", {f"{OURS}_bus_pending_messages{{stream=UPLINKS}}": rising(60)}, 20),
    Play("FluxPresquePlein", {f"{OURS}_bus_stream_filled_ratio{{stream=FRAMES}}": at(0.6)}, 7),
    Play("CopieDeFluxManquante", {f"{OURS}_bus_stream_copies_missing{{stream=UPLINKS}}": at(1)}, 12),
    Play("BusSansReponse", {f"{OURS}_bus_streams_answered_timestamp_seconds": still()}, 5),
    Play("EnregistrementEnRetard", _beyond(LAG, LE_10), 12),
    Play("ObjectifDelaiConsommeVite", {f"{LAG}_bucket{{le=2.0}}": still()}, 62),
    Play("ObjectifDelaiConsomme", {f"{LAG}_bucket{{le=2.0}}": still()}, 62),
    Play("QuarantaineEnHausse", {f"{OURS}_ingest_quarantined_total{{reason=defect}}": once(20)}, 3),
    Play("QuarantaineEnHausse", {f"{OURS}_network_quarantined_total": once(20)}, 3),
    # A rebuilt service of which nothing is left but the other's count.
    Play(
        "QuarantaineEnHausse",
        {f"{OURS}_ingest_quarantined_total": gone(), f"{OURS}_network_quarantined_total": once(20)},
        12,
    ),
    Play("TramesIllisibles", {f"{OURS}_ingest_uplinks_total{{status=undecodable}}": rising(600)}, 65),
    Play("AgregatsEnRetard", {f"{MAINTENANCE}_dirty_waiting_since_timestamp_seconds": instant(0)}, 78),
    Play(
        "TravailDeMaintenanceEnEchec",
        {f"{MAINTENANCE}_last_success_timestamp_seconds{{task=housekeeping}}": instant(0)},
        257,  # Due every hour.
    ),
    Play(
        "IndicateursEnRetard",
        {f"{OURS}_indicators_last_success_timestamp_seconds{{task=reports}}": instant(0)},
        197,
    ),
    Play("FilRetenu", {f"{MAINTENANCE}_feed_held_seconds": rising(60)}, 3),
    Play("DossierFroidEnPanne", {f"{MAINTENANCE}_cold_failed": at(1)}, 17),
    Play("DisqueBientotPlein", {f"{MAINTENANCE}_disk_free_bytes": at(1e9)}, 12),
    Play("DisqueBientotPlein", {f"{MAINTENANCE}_disk_limit_bytes": at(1e6)}, 12),
    Play("VolumeBientotPlein", {f"kubelet_volume_stats_available_bytes{{{VOLUME}}}": at(15e9)}, 12),
    Play("VolumePleinDansDeuxSemaines", {f"kubelet_volume_stats_available_bytes{{{VOLUME}}}": rising(-10e6)}, 480),
    Play("ProcessusArrete", {"up{app_kubernetes_io_name=network}": at(0)}, 5),
    *(Play("ServiceAbsent", {f"up{{app_kubernetes_io_name={name}}}": gone()}, 10) for name in PROCESSES),
    *(Play("ServicePasPret", {f"{OURS}_ready{{app_kubernetes_io_name={name}}}": at(0)}, 7) for name in PROCESSES),
    Play("CourtierMqttAbsent", {_bridge("mqtt_connected"): at(0)}, 5),
    Play("PontMqttAbsent", {"up{app_kubernetes_io_name=gateway-bridge-mqtt}": gone()}, 10),
    Play("RefuseParLeBus", {f"{OURS}_bus_denied_total{{operation=publish}}": once()}, 2),
    Play("BoucleLente", {f"{OURS}_event_loop_lag_seconds{{app_kubernetes_io_name=ingest}}": at(2)}, 7),
    Play("WebhooksEnAttente", {f"{ALERTING}_outbox_pending": at(200)}, 17),
    Play("WebhooksLents", _beyond(DELAY, "0.05|0.1|0.25|0.5|1.0|2.0|5.0|10.0"), 22),
    Play("MessageDAlerteAncien", {f"{ALERTING}_outbox_oldest_seconds": at(7 * HOUR_S)}, 17),
    Play("AlertesSansDestinataire", {f"{ALERTING}_notified_nobody": at(2)}, 7),
    Play("ConnexionsALaBaseEpuisees", {f"{OURS}_database_pool_waiting{{pool=ingest}}": at(3)}, 12),
    # No error has a series before there is one.
    Play(
        "ErreursDeLAPI",
        {f"{OURS}_api_http_request_duration_seconds_count{{method=POST}} as status=500": rising(60)},
        14,
    ),
    Play("CommandesDEclairageEnEchec", {f"{OURS}_lighting_commands_total{{outcome=failed}}": once()}, 2),
    Play("CommandesDEclairageEnEchec", {f"{OURS}_lighting_commands_total{{outcome=expired}}": once()}, 2),
    Play("CodecSuspendu", {f"{OURS}_ingest_codecs_suspended_total{{app_kubernetes_io_name=ingest}}": once()}, 2),
    Play(
        "CertificatBientotExpire",
        {"certmanager_certificate_expiration_timestamp_seconds": instant(-10 * DAY_S)},
        62,
    ),
    Play("BaseSansMesure", {"cnpg_collector_up": gone()}, 12),
    Play("BaseSansMesure", {"cnpg_collector_up": at(0)}, 7),
    Play("RepliqueDeLaBaseAbsente", {"cnpg_pg_replication_streaming_replicas": at(1)}, 12),
    Play("RepliqueDeLaBaseEnRetard", {"cnpg_pg_replication_lag": at(90)}, 7),
    Play(
        "SauvegardeTropVieille",
        {"barman_cloud_cloudnative_pg_io_last_available_backup_timestamp": instant(37 * HOUR_S)},
        62,
    ),
    Play("SauvegardeInconnue", {"barman_cloud_cloudnative_pg_io_last_available_backup_timestamp": gone()}, 68),
    Play("JournalNonArchive", {"cnpg_pg_stat_archiver_seconds_since_last_archival": rising(60)}, 14),
    # Of an installation that has archived nothing, and of an instance that a fail-over has made primary.
    Play(
        "JournalJamaisArchive",
        {
            "cnpg_pg_stat_archiver_seconds_since_last_archival{pod=database-1}": at(-1),
            "cnpg_collector_pg_wal_archive_status{pod=database-1,value=ready}": rising(2),
        },
        7,
    ),
    Play(
        "JournalJamaisArchive", {"cnpg_collector_pg_wal_archive_status{pod=database-2,value=ready}": rising(2)}, 7
    ),
    Play(
        "RestaurationNonEssayee",
        {f"{MAINTENANCE}_restore_drill_success_timestamp_seconds": instant(36 * DAY_S)},
        62,
    ),
    Play("EssaiDeRestaurationEnEchec", {f"{MAINTENANCE}_restore_drill_failed": at(1)}, 12),
    Play("RegistreDesEffacementsEnRetard", {f"{LEDGER_JOB}{{cronjob=erasure-ledger}}": instant(7 * HOUR_S)}, 122),
    Play("RegistreDesEffacementsEnRetard", {LEDGER_JOB: gone()}, 128),
)
