from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from registry.datastreams import make_datastream


async def test_alerts_are_listed_by_state_and_taken_on(client, registry, observations, tenancy) -> None:
    first, second = await registry.asset(), await registry.asset()
    older = await observations.alert(tenancy.id, first["id"])
    newer = await observations.alert(tenancy.id, second["id"])

    async def listed(**query) -> list[int]:
        return [alert["id"] for alert in (await client.get("/v1/alerts", params=query)).json()["items"]]

    assert await listed() == [newer, older]
    assert await listed(asset_id=first["id"]) == [older]
    rule_id = (await client.get(f"/v1/alerts/{older}")).json()["rule_id"]
    assert (await listed(rule_id=rule_id), await listed(rule_id=rule_id + 1)) == ([newer, older], [])
    taken = await client.post(f"/v1/alerts/{older}/acknowledge")
    again = await client.post(f"/v1/alerts/{older}/acknowledge")

    assert (taken.json()["workflow"], taken.json()["acknowledged_by"]) == ("acknowledged", "clé de sdef")
    assert again.json() == taken.json()
    assert (await client.get(f"/v1/alerts/{older}")).json() == taken.json()
    assert await listed(state="open") == [newer]
    assert await listed(state=["open", "acknowledged"]) == [newer, older]


async def test_alerts_say_where_they_are_what_explains_them_and_how_many_each_rule_has(
    client, other_client, registry, observations, tenancy, pool
) -> None:
    asset = await registry.asset(name="Borne 7", commune="Landerneau", street="quai Léon")
    cause, muted, ended = [await observations.alert(tenancy.id, asset["id"], "dark")] + [
        await observations.alert(tenancy.id, (await registry.asset())["id"]) for _ in range(2)
    ]
    await pool.execute("UPDATE alert SET muted_by = $2 WHERE id = $1", muted, f"expliquée par l'alerte n° {cause}")
    await client.post(f"/v1/alerts/{ended}/resolve", json={"cause": "vidée"})

    shown = (await client.get(f"/v1/alerts/{cause}")).json()
    explained = (await client.get("/v1/alerts", params={"explained_by": cause})).json()["items"]
    counts = (await client.get("/v1/alerts/counts")).json()["items"]

    assert (shown["asset"], shown["street"], shown["commune"]) == ("Borne 7", "quai Léon", "Landerneau")
    assert [alert["id"] for alert in explained] == [muted]
    assert sorted((one["unended"], one["known"]) for one in counts) == [(1, 1), (1, 2)]
    assert (await other_client.get("/v1/alerts/counts")).json()["items"] == []


async def test_pages_of_alerts_leave_nothing_out(client, registry, observations, tenancy) -> None:
    ids = [await observations.alert(tenancy.id, (await registry.asset())["id"]) for _ in range(5)]

    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/alerts", params=query)).json()
        seen += [alert["id"] for alert in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert seen == ids[::-1]


async def test_a_rule_is_changed_in_part(client) -> None:
    rules = {rule["name"]: rule for rule in (await client.get("/v1/alert-rules")).json()["items"]}
    bin_75 = rules["bin_75"]
    path = f"/v1/alert-rules/{bin_75['id']}"

    changed = await client.patch(path, json={"fire_value": 80, "severity": "major"})

    assert changed.json() == bin_75 | {"fire_value": 80, "severity": "major"}
    assert (await client.get(path)).json() == changed.json()


@pytest.mark.parametrize(
    "spoil", [{"severity": "dire"}, {"message": ""}, {"for_readings": 0}, {"fire_value": "x"}]
)
async def test_a_wrong_change_of_a_rule_is_rejected(client, spoil) -> None:
    rule = (await client.get("/v1/alert-rules")).json()["items"][0]

    assert (await client.patch(f"/v1/alert-rules/{rule['id']}", json=spoil)).status_code == 422


async def test_a_rule_that_would_end_where_it_has_not_begun_is_rejected_and_stays_as_it_is(client) -> None:
    rules = {rule["name"]: rule for rule in (await client.get("/v1/alert-rules")).json()["items"]}
    path = f"/v1/alert-rules/{rules['bin_75']['id']}"

    refused = await client.patch(path, json={"fire_value": 50})
    both = await client.patch(path, json={"fire_value": 50, "clear_value": 40})

    assert refused.status_code == 422
    assert "au-delà" in refused.json()["detail"]
    assert (both.json()["fire_value"], both.json()["clear_value"]) == (50, 40)


NEW_RULE = {
    "name": "verre_80",
    "kind": "threshold",
    "quantity": "fill_level",
    "asset_kinds": ["glass_container"],
    "fire_op": ">=",
    "fire_value": 80,
    "clear_op": "<=",
    "clear_value": 50,
    "severity": "warning",
    "message": "{asset} ({place}) : {value}",
    "ladder": [{"severity": "major", "value": 95}],
}


async def test_a_rule_is_made_adjusted_and_removed(client, pool) -> None:
    made = await client.post("/v1/alert-rules", json=NEW_RULE)
    twice = await client.post("/v1/alert-rules", json=NEW_RULE)
    path = f"/v1/alert-rules/{made.json()['id']}"
    freed = await client.patch(path, json={"asset_kinds": None, "for_readings": 3, "of_readings": 5})
    removed = await client.delete(path)

    assert made.status_code == 201
    assert made.json()["ladder"][0]["value"] == 95
    assert (twice.status_code, twice.json()["detail"]) == (422, "une règle s'appelle déjà verre_80")
    assert (freed.json()["asset_kinds"], freed.json()["of_readings"]) == (None, 5)
    assert removed.status_code == 204
    assert (await client.get(path)).status_code == 404
    actions = await pool.fetch("SELECT action FROM audit WHERE entity = 'alert_rule' ORDER BY id")
    assert [row["action"] for row in actions] == ["create", "update", "delete"]


async def test_a_rule_is_tried_on_thirty_days_and_nothing_is_made_of_it(
    client, registry, observations, pool
) -> None:
    asset = await registry.asset(name="Borne 7", street="quai Léon")
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)
    values = [20, 50, 81, 96, 10, 30, 85, 40]
    await observations.readings(stream, {first + timedelta(hours=2 * n): value for n, value in enumerate(values)})

    trial = (await client.post("/v1/alert-rules/trial", json=NEW_RULE)).json()
    nothing = (await client.post("/v1/alert-rules/trial", json=NEW_RULE | {"asset_kinds": ["room"]})).json()
    stored = (await client.get("/v1/alert-rules")).json()["items"]
    bin_75 = next(rule for rule in stored if rule["name"] == "bin_75")
    of_stored = (await client.get(f"/v1/alert-rules/{bin_75['id']}/trial")).json()
    gateway = {"name": "passerelles", "kind": "gateway", "severity": "major", "message": "m", "for_seconds": 600}
    gateways = await client.post("/v1/alert-rules/trial", json=gateway)

    assert [(one["event"], one["severity"]) for one in trial["notices"]] == [
        ("alert.opened", "warning"),
        ("alert.raised", "major"),
        ("alert.resolved", "major"),
        ("alert.reopened", "warning"),
        ("alert.resolved", "warning"),
    ]
    assert trial["notices"][0]["message"] == "Borne 7 (quai Léon, Landerneau) : 81\u00a0%"
    assert trial["summary"].startswith(
        "Sur 30 jours (8 mesures de 1 flux), cette règle aurait ouvert 2 alertes sur 1 actif et envoyé 5 messages."
    )
    # Outages are recorded since the database was made, a moment ago.
    assert "Pannes avant le" in trial["summary"]
    assert len(trial["days"]) == 31
    opening = datetime.fromisoformat(trial["notices"][0]["at"]).astimezone(ZoneInfo("Europe/Paris"))
    assert next(day["day"] for day in trial["days"] if day["opened"]) == f"{opening:%Y-%m-%d}"
    assert [sum(day[name] for day in trial["days"]) for name in ("opened", "sent")] == [2, 5]
    assert trial["summary"].endswith(" : inconnu.")
    assert datetime.fromisoformat(trial["outages_known_since"]) > first
    assert nothing["sent"] == 0
    assert "Aucune mesure" in nothing["summary"]
    assert of_stored["opened"] == 1
    assert gateways.status_code == 422
    assert "ne se rejoue pas : d'une passerelle on garde le dernier instant" in gateways.json()["detail"]
    assert await pool.fetchval("SELECT count(*) FROM alert") == 0


async def test_a_rule_about_losses_is_tried_on_the_frames_that_were_received(client, registry, pool) -> None:
    asset = await registry.asset(name="Borne 7")
    await registry.device(asset_id=asset["id"])
    device_id = await pool.fetchval("SELECT id FROM device")
    await make_datastream(
        pool, tenant_id=asset["tenant_id"], asset_id=asset["id"], device_id=device_id, position="", channel="",
        quantity="fill_level", unit="%",
    )  # fmt: skip
    now = datetime.now(UTC)
    # Hourly; of the tenth day and the eleventh every other frame is lost.
    frames = [(hours, 1000 - hours) for hours in range(24 * 29) if hours % 2 or not 9 * 24 <= hours < 11 * 24]
    await pool.executemany(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, payload, received_at, "
        "status) VALUES ($1, $2, gen_random_uuid(), 1, $3, '', $2, 'empty')",
        [(device_id, now - timedelta(hours=hours, minutes=1), f_cnt) for hours, f_cnt in frames],
    )
    stored = (await client.get("/v1/alert-rules")).json()["items"]
    rule = next(one for one in stored if one["name"] == "sensor_loss")

    trial = (await client.get(f"/v1/alert-rules/{rule['id']}/trial")).json()

    assert [one["event"] for one in trial["notices"]] == ["alert.opened", "alert.resolved"]
    opened, resolved = (datetime.fromisoformat(one["at"]) for one in trial["notices"])
    # Above 30 % once 15 of the day's 24 hours are lossy; it ends a good day after it was back under 20 %.
    assert timedelta(hours=11 * 24 - 20) < now - opened < timedelta(hours=11 * 24 - 12)
    assert timedelta(hours=24 * 7) < now - resolved < timedelta(hours=24 * 8)
    assert "des messages du capteur" in trial["notices"][0]["message"]
    assert f"({len(frames)} trames de 1 flux)" in trial["summary"]


async def test_a_manual_reading_ends_no_missing_data_in_a_backtest(client, registry, observations) -> None:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    now = datetime.now(UTC).replace(microsecond=0)
    await observations.readings(stream, {now - timedelta(days=20, hours=hour): 30 for hour in range(5)})
    await observations.readings(stream, {now - timedelta(days=10): 40}, flags=4)
    stored = (await client.get("/v1/alert-rules")).json()["items"]
    rule = next(one for one in stored if one["name"] == "device_silent")

    trial = (await client.get(f"/v1/alert-rules/{rule['id']}/trial")).json()

    assert [one["event"] for one in trial["notices"]] == ["alert.opened"]


UPLINK = """
INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status)
SELECT d.id, $2, gen_random_uuid(), '', $3, 'decoded' FROM device d WHERE d.dev_eui = $1
"""


async def test_a_backtest_plays_a_late_reading_when_it_was_received(client, registry, observations, pool) -> None:
    asset = await registry.asset(name="Borne 7")
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    measured = datetime.now(UTC).replace(microsecond=0) - timedelta(days=5)
    received = measured + timedelta(hours=3)
    over = measured - timedelta(days=10)
    await observations.readings(stream, {measured: 90, over: 90, over + timedelta(hours=1): 10})
    for at, heard_at in ((measured, received), (over, over + timedelta(hours=3))):
        await pool.execute(UPLINK, bytes.fromhex(device["dev_eui"]), at, heard_at)
    await pool.execute(
        UPLINK, bytes.fromhex(device["dev_eui"]), over + timedelta(hours=1), over + timedelta(hours=3)
    )

    trial = (await client.post("/v1/alert-rules/trial", json=NEW_RULE)).json()

    told = [(one["event"], datetime.fromisoformat(one["at"])) for one in trial["notices"]]
    assert told == [("alert.opened", received + timedelta(seconds=15))]
    assert "appris tard" in trial["notices"][0]["message"]


@pytest.mark.parametrize("with_no_data_rules", [True, False])
async def test_a_backtest_takes_the_tenants_own_no_data_rules_and_runs_no_duration_through_unknown_time(
    client, registry, observations, pool, with_no_data_rules
) -> None:
    asset = await registry.asset(name="Borne 7")
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)
    await observations.readings(stream, {first: 90, first + timedelta(hours=100): 90})
    if not with_no_data_rules:
        await pool.execute("UPDATE alert_rule SET enabled = false WHERE kind = 'silence'")

    trial = (await client.post("/v1/alert-rules/trial", json=NEW_RULE | {"for_seconds": 7200})).json()

    assert trial["notices"] == []


async def test_a_backtest_of_a_silent_device_knows_outages_of_its_gateways_and_of_the_platform(
    client, registry, observations, pool
) -> None:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)
    hours = [hour for hour in range(19 * 24) if not (48 <= hour < 60 or 100 <= hour < 112 or 200 <= hour < 212)]
    await observations.readings(stream, {first + timedelta(hours=hour): 30 for hour in hours})
    gateway_id = await pool.fetchval(
        "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, '\\x0102030405060708', 'G') RETURNING id",
        asset["tenant_id"],
    )
    await pool.executemany(
        "INSERT INTO observation.reception (device_id, time, uplink_id, gateway_id, antenna, rssi, snr) "
        "SELECT id, $1, gen_random_uuid(), $2, 0, -80, 5 FROM device",
        [(first + timedelta(hours=hour), gateway_id) for hour in hours],
    )
    # The gateway, then the platform; the third time it is the device.
    await pool.execute(
        "INSERT INTO outage (what, gateway_id, began_at, ended_at) VALUES ('gateway', $1, $2, $3), "
        "('platform', NULL, $4, $5)",
        gateway_id,
        *(first + timedelta(hours=hour) for hour in (47.5, 59.5, 99.5, 111.95)),
    )
    stored = (await client.get("/v1/alert-rules")).json()["items"]
    rule = next(one for one in stored if one["name"] == "device_silent")

    trial = (await client.get(f"/v1/alert-rules/{rule['id']}/trial")).json()

    told = [(one["event"], datetime.fromisoformat(one["at"]) - first) for one in trial["notices"]]
    assert told[:2] == [
        ("alert.opened", timedelta(hours=202)),
        ("alert.resolved", timedelta(hours=212)),
    ]


async def test_a_syndicat_tries_no_rule_of_a_member_by_opening_hours_that_it_cannot_read(
    client, other_client, tenancy, other_tenancy, pool
) -> None:
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", tenancy.id, other_tenancy.id)
    stored = (await client.get("/v1/alert-rules")).json()["items"]
    theirs = next(one for one in stored if one["name"] == "intrusion" and one["tenant_id"] == other_tenancy.id)

    refused = await client.get(f"/v1/alert-rules/{theirs['id']}/trial")

    assert refused.status_code == 422
    assert "seule sa collectivité peut lire" in refused.json()["detail"]
    assert (await other_client.get(f"/v1/alert-rules/{theirs['id']}/trial")).status_code == 200


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"kind": "silence", "schedule": "open"}, "retirez `schedule`"),
        ({"kind": "gateway", "for_seconds": 600, "asset_kinds": ["room"]}, "retirez `asset_kinds` et `tags`"),
        ({"kind": "gateway", "for_seconds": 600, "quantity": "co2"}, "retirez `quantity`"),
        ({"kind": "silence", "ladder": [{"severity": "critical", "value": 1}]}, "retirez `ladder`"),
        ({"kind": "threshold", "quantity": "bonheur"}, "choisissez dans GET /v1/quantities"),
        ({"kind": "threshold", "quantity": "co2"}, "`fire_value`"),
    ],
)
async def test_what_a_rule_would_not_heed_or_lacks_is_rejected_with_what_to_do(client, spoil, why) -> None:
    refused = await client.post("/v1/alert-rules", json={"name": "x", "severity": "major", "message": "m"} | spoil)

    assert refused.status_code == 422
    assert why in refused.json()["detail"]


async def test_another_tenants_measurements_are_in_no_trial(
    client, other_client, other_registry, observations
) -> None:
    asset = await other_registry.asset()
    device = await other_registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    await observations.readings(stream, {datetime.now(UTC) - timedelta(days=1): 99})

    assert (await client.post("/v1/alert-rules/trial", json=NEW_RULE)).json()["datastreams"] == 0
    assert (await other_client.post("/v1/alert-rules/trial", json=NEW_RULE)).json()["opened"] == 1


async def test_an_alert_is_worked_on_step_by_step_and_its_history_says_so(
    client, registry, observations, tenancy
) -> None:
    alert = await observations.alert(tenancy.id, (await registry.asset())["id"])
    path = f"/v1/alerts/{alert}"
    assigned = (await client.post(f"{path}/assign", json={"assignee": "M. Le Goff"})).json()
    await client.post(f"{path}/comments", json={"text": "passage demain"})
    no_reason = await client.post(f"{path}/close", json={})
    closed = (await client.post(f"{path}/close", json={"reason": "borne condamnée"})).json()
    history = (await client.get(f"{path}/events")).json()["items"]

    assert (assigned["workflow"], assigned["assignee"], assigned["acknowledged_by"]) == (
        "in_progress",
        "M. Le Goff",
        "clé de sdef",
    )
    assert no_reason.status_code == 422
    assert (closed["workflow"], closed["closed_reason"]) == ("closed", "borne condamnée")
    # It fires still: it is looked at again after four hours.
    waits = datetime.fromisoformat(closed["reopen_at"]) - datetime.fromisoformat(closed["closed_at"])
    assert waits == timedelta(hours=4)
    assert [(one["action"], one["note"]) for one in history] == [
        ("assigned", "M. Le Goff"),
        ("commented", "passage demain"),
        ("closed", "borne condamnée"),
    ]


async def test_a_silence_says_who_why_and_until_when(client, registry) -> None:
    asset = await registry.asset()
    whole = {"reason": "fête", "ends_at": "2100-01-01T00:00:00Z", "asset_id": asset["id"]}
    made = await client.post("/v1/silences", json=whole)
    spoilt = [
        await client.post("/v1/silences", json={**whole, **spoil})
        for spoil in ({"reason": ""}, {"ends_at": None}, {"asset_id": None}, {"ends_at": "2020-01-01T00:00:00Z"})
    ]
    ended = await client.post(f"/v1/silences/{made.json()['id']}/end")

    assert (made.status_code, made.json()["author"]) == (201, "clé de sdef")
    assert [answer.status_code for answer in spoilt] == [422] * 4
    assert datetime.fromisoformat(ended.json()["ends_at"]) <= datetime.now(UTC)
    assert (await client.get("/v1/silences")).json()["items"] == []
    assert len((await client.get("/v1/silences", params={"ended": True})).json()["items"]) == 1


async def test_an_asset_hangs_on_another_but_not_on_what_hangs_on_it(client, registry, other_registry) -> None:
    cabinet, lamp, theirs = await registry.asset(), await registry.asset(), await other_registry.asset()

    async def hang(asset: dict, on: dict | None) -> int:
        body = {"parent_id": None if on is None else on["id"]}
        return (await client.put(f"/v1/assets/{asset['id']}/parent", json=body)).status_code

    assert await hang(lamp, cabinet) == 200
    assert (await client.get(f"/v1/assets/{lamp['id']}")).json()["parent_id"] == cabinet["id"]
    assert [await hang(cabinet, lamp), await hang(lamp, lamp), await hang(lamp, theirs)] == [422] * 3
    assert await hang(lamp, None) == 200
    assert await hang(theirs, cabinet) == 404
