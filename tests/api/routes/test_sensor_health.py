"""Sensors' health over HTTP, by what ingest and network store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from core.runtime.postgres import Pool

HOUR = timedelta(hours=1)
UPLINKS = """
WITH sent AS (
    INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, payload, received_at, radio,
                                    status, reason)
    SELECT d.id, $2::timestamptz - f * interval '1 hour', gen_random_uuid(), 1, 1000 - f, '', now(),
           '{"spreading_factor": 10}', $4, $5
    FROM device d, unnest($3::int[]) AS f WHERE d.dev_eui = $1 RETURNING device_id, time, uplink_id
)
INSERT INTO observation.reception SELECT device_id, time, uplink_id, g.id, 0, $6, $7 FROM sent, gateway g
"""
SILENCE = """
WITH r AS (UPDATE alert_rule SET enabled = true WHERE kind = 'silence' RETURNING id, tenant_id)
INSERT INTO alert (tenant_id, rule_id, asset_id, device_id, severity, message, condition, workflow, opened_at,
                   fired_at, resolved_at, occurrences)
SELECT r.tenant_id, r.id, g.asset_id, g.device_id, 'warning', 'muet', 'ok', 'resolved',
       now() - interval '3 days', now() - interval '3 days', now() - interval '1 day', 2
FROM r JOIN assignment g ON g.asset_id = $1
RETURNING id
"""
MUTED = """
INSERT INTO alert_event (tenant_id, alert_id, at, action, note)
SELECT tenant_id, id, opened_at, 'muted', 'passerelle Mairie muette' FROM alert WHERE id = $1
"""


async def test_what_is_wrong_with_each_sensor_is_one_list_and_what_nobody_knows_is_unknown(
    client, other_client, registry, pool: Pool
) -> None:
    now = datetime.now(UTC)
    await registry.gateway()
    profile = await registry.profile(expected_interval_s=3600)
    sensors: dict[str, Any] = {}
    for name in ("sound", "weak", "losing", "failing", "never", "new"):
        asset = await registry.asset(name=name, commune="Brest" if name in ("weak", "never") else "Landerneau")
        sensors[name] = await registry.device(profile, name=name, asset_id=asset["id"])
    await pool.execute("UPDATE assignment SET during = tstzrange(now() - interval '10 days', NULL)")
    await pool.execute(
        "UPDATE assignment SET during = tstzrange(now(), NULL) "
        "WHERE device_id = (SELECT id FROM device WHERE name = 'new')"
    )

    async def send(
        name: str, hours: list[int], status: str = "decoded", reason: str | None = None, snr: float = 5.0
    ) -> None:
        eui = bytes.fromhex(sensors[name]["dev_eui"])
        await pool.execute(UPLINKS, eui, now - HOUR / 2, hours, status, reason, -118.0, snr)

    await send("sound", list(range(30)))
    await send("weak", list(range(30)), snr=-14.0)
    await send("losing", [0, *range(10, 30)])
    await send("failing", list(range(30)), "undecodable", "unreadable")

    async def causes(**asked: Any) -> dict[str, list[str]]:
        answer = await client.get("/v1/sensor-health", params=asked)
        assert answer.status_code == 200, answer.text
        return {one["name"]: one["causes"] for one in answer.json()["items"]}

    ill = {"weak": ["weak"], "losing": ["losing"], "failing": ["codec_failing"], "never": ["never_heard"]}
    assert await causes() == ill
    assert await causes(sound=True) == ill | {"sound": [], "new": []}
    assert await causes(cause="weak") == {"weak": ["weak"]}
    assert await causes(commune="Brest") == {"weak": ["weak"], "never": ["never_heard"]}
    assert await causes(dev_eui=sensors["losing"]["dev_eui"]) == {"losing": ["losing"]}
    assert await causes(gateway_id="00" * 8) == {}
    page = (await client.get("/v1/sensor-health", params={"limit": 1})).json()
    assert (len(page["items"]), page["next"] is not None) == (1, True)
    one = (await client.get("/v1/sensor-health", params={"cause": "weak"})).json()["items"][0]
    assert (one["margin_db"], one["rssi"], one["lost_percent"], one["battery_percent"]) == (1.0, -118.0, 0.0, None)
    assert one["unknown"] == ["low_battery", "flat"]
    assert one["findings"] == [{"cause": "weak", "text": "entendu avec 1 dB de marge, RSSI -118 dBm"}]
    new = (await client.get("/v1/sensor-health", params={"sound": True})).json()["items"][-1]
    assert (new["last_heard_at"], new["lost_percent"], len(new["unknown"])) == (None, None, 7)
    table = (await client.get("/v1/sensor-health/export.csv")).text
    assert table.count("\r\n") == 5
    assert ";weak;room;;Brest;signal faible;" in table.replace(";glass_container;", ";room;")
    assert (await other_client.get("/v1/sensor-health")).json()["items"] == []
    wrong = await client.get("/v1/sensor-health", params={"cause": "tired"})
    assert wrong.status_code == 422

    await pool.execute(SILENCE, sensors["sound"]["asset_id"])
    (model,) = (await client.get("/v1/sensor-health/models")).json()["items"]
    assert (model["sensors"], model["failures"], round(model["silent_days"], 1)) == (6, 2, 2.0)
    assert model["mtbf_days"] == 24.0
    days = {one["name"]: one for one in (await client.get("/v1/asset-unavailability")).json()["items"]}
    assert (round(days["sound"]["unavailable_days"], 1), days["weak"]["unavailable_days"]) == (2.0, 0.0)
    # Its gateway was away: nobody could hear it, and nobody was notified.
    explained = await pool.fetchval(SILENCE, sensors["weak"]["asset_id"])
    assert (await client.get("/v1/sensor-health/models")).json()["items"][0]["failures"] == 4
    await pool.execute(MUTED, explained)
    (model,) = (await client.get("/v1/sensor-health/models")).json()["items"]
    assert (model["failures"], model["mtbf_days"]) == (2, 24.0)
    await pool.execute("UPDATE alert SET notified_severity = severity WHERE id = $1", explained)
    assert (await client.get("/v1/sensor-health/models")).json()["items"][0]["failures"] == 4
    await pool.execute("UPDATE alert_rule SET enabled = false")
    assert (await client.get("/v1/sensor-health/models")).json()["items"][0]["failures"] is None
