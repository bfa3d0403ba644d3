"""What each service shows at /metrics (docs/exploitation.md, "Les métriques")."""

from collections.abc import Mapping

EVERY = (
    "territoire_build_info",
    "territoire_ready",
    "territoire_event_loop_lag_seconds",
    "territoire_database_pool_size",
    "territoire_database_pool_free",
    "territoire_database_pool_limit",
    "territoire_database_pool_waiting",
    "territoire_log_lines_lost_total",
    "territoire_log_lines_left_out_total",
    "territoire_trace_steps_left_out_total",
    "territoire_message_version",
)
BACKLOG = (
    "territoire_bus_pending_messages",
    "territoire_bus_ack_pending_messages",
    "territoire_bus_redelivered_messages",
)
OF_SERVICE: Mapping[str, tuple[str, ...]] = {
    "gateway_bridge": (
        "territoire_gateway_bridge_datagrams_total",
        "territoire_gateway_bridge_uplinks_total",
        "territoire_gateway_bridge_downlinks_total",
        "territoire_gateway_bridge_gateways_connected",
        "territoire_gateway_bridge_mqtt_connected",
        "territoire_gateway_bridge_socket_drops_total",
        # The bridge owns the radios (docs/architecture.md, "Downlinks are rows"), hence their ledgers.
        "territoire_gateway_bridge_duty_cycle_ratio",
        "territoire_gateway_bridge_queue_frames",
        "territoire_gateway_bridge_publish_seconds_count",
    ),
    "network": (
        "territoire_network_frames_total",
        "territoire_network_dedup_receptions_bucket",
        "territoire_network_joins_total",
        "territoire_network_mic_failures_total",
        "territoire_network_downlink_delay_seconds_count",
        "territoire_network_downlinks_total",
        "territoire_network_shards_owned",
        *BACKLOG,
    ),
    "intake": ("territoire_intake_publish_seconds_count", "territoire_intake_mqtt_connections"),
    "ingest": (
        "territoire_ingest_measurements_total",
        "territoire_ingest_uplinks_total",
        "territoire_ingest_batch_rows_bucket",
        "territoire_ingest_lag_seconds_bucket",
        "territoire_ingest_shards_owned",
        *BACKLOG,
    ),
    "alerting": (
        "territoire_alerting_rules_evaluated_total",
        "territoire_alerting_alerts_open",
        "territoire_alerting_webhook_deliveries_total",
        "territoire_alerting_webhook_delay_seconds_bucket",
        "territoire_alerting_outbox_pending",
        "territoire_alerting_outbox_oldest_seconds",
        "territoire_alerting_shards_owned",
        *BACKLOG,
    ),
    "lighting": ("territoire_lighting_commands_total", "territoire_lighting_confirmation_delay_seconds_bucket"),
    "maintenance": (
        "territoire_maintenance_passes_total",
        "territoire_maintenance_last_success_timestamp_seconds",
        "territoire_maintenance_period_seconds",
    ),
    "indicators": (
        "territoire_indicators_passes_total",
        "territoire_indicators_fill_days_made_total",
        "territoire_indicators_last_success_timestamp_seconds",
    ),
    "api": ("territoire_api_http_request_duration_seconds_bucket",),
}
# Of what the demonstration does for certain, the sum over all labels is more than nothing.
MOVED: Mapping[str, tuple[str, ...]] = {
    "gateway_bridge": ("territoire_gateway_bridge_uplinks_total", "territoire_gateway_bridge_downlinks_total"),
    "network": (
        "territoire_network_frames_total",
        "territoire_network_joins_total",
        "territoire_network_dedup_receptions_count",
        "territoire_network_downlink_delay_seconds_count",
        "territoire_network_shards_owned",
    ),
    "ingest": (
        "territoire_ingest_measurements_total",
        "territoire_ingest_lag_seconds_count",
        "territoire_ingest_shards_owned",
    ),
    "alerting": (
        "territoire_alerting_rules_evaluated_total",
        "territoire_alerting_webhook_deliveries_total",
        "territoire_alerting_shards_owned",
    ),
    "lighting": ("territoire_lighting_commands_total",),
    "maintenance": ("territoire_maintenance_passes_total",),
    "indicators": ("territoire_indicators_passes_total",),
    "api": ("territoire_api_http_request_duration_seconds_count",),
}
# The labels that distinguish them.
LABELLED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "gateway_bridge": {
        "territoire_gateway_bridge_datagrams_total": frozenset({"type", "result"}),
        "territoire_gateway_bridge_uplinks_total": frozenset({"result"}),
        "territoire_gateway_bridge_duty_cycle_ratio": frozenset({"gateway_id", "sub_band_hz"}),
    },
    "network": {
        "territoire_network_frames_total": frozenset({"mtype", "outcome"}),
        "territoire_network_joins_total": frozenset({"result"}),
    },
    "ingest": {"territoire_ingest_measurements_total": frozenset({"kind"})},
    "alerting": {
        "territoire_alerting_alerts_open": frozenset({"severity"}),
        "territoire_alerting_webhook_deliveries_total": frozenset({"result"}),
    },
    "api": {
        "territoire_api_http_request_duration_seconds_count": frozenset({"route", "method", "status"}),
    },
}
