"""Every setting's name: a process finds those of the others beside its own, and knows a misspelt one.

A test compares with the classes.
"""

_OF_SERVICES = """
    adr alert_url api_host api_password api_port bus_replicas chirpstack_json chirpstack_prefix chirpstack_stats_s
    chirpstack_url codec_workers compress_after_days database_url dedup_window_ms dev_status_every_h disk_folder
    disk_limit_bytes dispatch_s far_rx1_delay fetch_messages gateways_tried health_host health_port
    housekeeping_every_s instance intake_application_backlog intake_host intake_mqtt_session_expiry intake_port
    intake_rate keep_alert_notices_days keep_measurements_months keep_personal_measurements_months
    keep_personal_uplinks_months keep_quarantine_days keep_uplinks_months keep_webhook_attempts_days kek kek_id
    least_watch_s linger_ms log_format log_level longest_linger_ms max_duty_cycle mqtt_client_id mqtt_prefixes
    mqtt_session_expiry mqtt_url nats_url net_id operator_key pass_uplinks pool_size public_url requests_in_flight
    rollups_every_s rx1_delay rx2_data_rate rx2_for_all service_password shards smtp_sender smtp_url
    station_certificate station_client_ca station_host station_key station_port station_url sweep_s trace_ratio
    udp_address_lock_s udp_address_rate udp_gateway_rate udp_host udp_port udp_receive_buffer webhook_concurrency
    webhook_permit_http webhook_schedule_s
"""
# What the command line and the units read.
_OF_COMMANDS = "api_key backup_database_url home options"

SERVICE_SETTINGS = frozenset(f"TERRITOIRE_{name.upper()}" for name in _OF_SERVICES.split())
SETTING_NAMES = SERVICE_SETTINGS | {f"TERRITOIRE_{name.upper()}" for name in _OF_COMMANDS.split()}
