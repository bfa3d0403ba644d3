"""One of what pages show beyond a fleet and its alerts, made over the API."""

import secrets
from datetime import UTC, datetime, timedelta

from lab.fleet.provision import Provisioner

PUBLISHED = "glass_container"


async def make_examples(api: Provisioner, asset_id: int, neighbour: str) -> None:
    """A team, a decoder, a silence, something shown to a neighbour and something offered, frames decoded anew."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    asset = await api.get(f"/v1/assets/{asset_id}")
    for path, body in {
        "/v1/teams": {"name": "Voirie", "digest_at": "07:30"},
        "/v1/grants": {"tenant": neighbour, "asset_kind": PUBLISHED, "role": "reader"},
        f"/v1/assets/{asset_id}/transfer": {"tenant": neighbour, "history": "stays", "confirm": asset["name"]},
        "/v1/codecs": {"name": "ville.niveau", "vendor": "Acme", "model": "Niveau 3"},
        "/v1/silences": {"reason": "Travaux rue du Port", "asset_id": asset_id, "ends_at": tomorrow},
        "/v1/work-orders": {"title": "Remplacer la pile du capteur", "asset_ids": [asset_id], "due_at": tomorrow},
        "/v1/redecodes": {"only_failed": True},
        "/v1/imports": {"kind": "cabinets"},
        "/v1/event-sources": {"name": "GMAO de la ville", "purpose": "work_orders"},
        "/v1/mqtt-accesses": {"name": "Node-RED du service Eau"},
    }.items():
        await api.post(path, body)
    profile = (await api.get("/v1/device-profiles"))["items"][0]
    line = {
        "key": "salle",
        "device_profile_id": profile["id"],
        "asset_kind": "room",
        "asset_name": "{site}, salle",
    }
    kit = await api.post("/v1/kits", {"name": "École", "items": [line]})
    site = {"site": "École Jules-Ferry", "devices": [{"item": "salle", "dev_eui": secrets.token_hex(8)}]}
    await api.post(f"/v1/kits/{kit['id']}/commissionings", site)
    await _share_costs(api)
    await _plan_round(api)
    await _send_reports(api, asset["commune"])
    tenants = (await api.get("/v1/tenants"))["items"]
    if not any(one["member_of"] == asset["tenant_id"] for one in tenants):
        member = await api.post("/v1/tenants", {"slug": "membre", "name": "Commune membre"})
        await api.put(f"/v1/tenants/{member['id']}/member-of", {"tenant_id": asset["tenant_id"]})
    if not (await api.get("/v1/lighting-programs"))["items"]:
        night = {"name": "Coupure de nuit", "program": {"default": {"night_cut": ["23:30", "05:00"]}}}
        await api.post("/v1/lighting-programs", night)
    cabinets = [cabinet["id"] for cabinet in (await api.get("/v1/assets", kind="lighting_cabinet"))["items"]]
    campaign = {
        "name": "Feu d'artifice",
        "action": "on",
        "reason": "14 juillet",
        "targets": {"asset_ids": cabinets},
    }
    await api.post("/v1/lighting-campaigns", campaign)


async def plan_export(api: Provisioner) -> None:
    """A drop every night; something has to be measured first."""
    await api.post("/v1/export-schedules", {"name": "Chaque nuit", "target": "folder", "directory": "collecte"})


async def _send_reports(api: Provisioner, commune: str) -> None:
    """The report of the last month that is over, and a team that receives the next ones."""
    last = datetime.now(UTC).replace(day=1) - timedelta(days=1)
    await api.post("/v1/reports", {"commune": commune, "month": f"{last:%Y-%m}"})
    team = (await api.get("/v1/teams"))["items"][0]
    await api.post("/v1/report-recipients", {"team_id": team["id"], "commune": commune})


async def _share_costs(api: Provisioner) -> None:
    """The statement of a year: three communes, a key, and what the ledger has of gateways."""
    year = datetime.now(UTC).year
    shares = [{"basis": "inhabitants", "share": 8000}, {"basis": "gateways", "share": 2000}]
    item = {
        "name": "Exploitation",
        "first_year": year,
        "method": "key",
        "amount_cents": 4_300_000,
        "shares": shares,
    }
    await api.post("/v1/cost-items", item | {"flat_below": 1500, "flat_cents": 50_000})
    for name, inhabitants, gateways in (
        ("Landerneau", 16_000, 6),
        ("Plougastel", 13_500, 4),
        ("Loperhet", 900, 1),
    ):
        period = {"since": f"{year}-01-01", "inhabitants": inhabitants}
        made = await api.post("/v1/cost-contributors", {"name": name, "periods": [period]})
        entry = {"contributor_id": made["id"], "basis": "gateways", "day": f"{year}-01-01", "quantity": gateways}
        await api.post("/v1/cost-entries", entry)
    await api.post("/v1/cost-statements", {"year": year})


async def _plan_round(api: Provisioner) -> None:
    """A round over every container of a kind, whatever is in it, of which one is emptied; and what was weighed."""
    now = datetime.now(UTC)
    ticket = {"ticket": "B-2026-0412", "stream": "glass", "weighed_at": now.isoformat(), "net_kg": 8460}
    await api.post("/v1/weighings", ticket)
    bins = [one["id"] for one in (await api.get("/v1/assets", kind=PUBLISHED))["items"] if one["latitude"]]
    place = {"latitude": 48.39, "longitude": -4.49}
    made = await api.post(
        "/v1/rounds",
        {
            "name": "Verre, lundi",
            "planned_for": (now + timedelta(days=1)).date().isoformat(),
            "truck_volume_l": 25_000,
            "truck_weight_kg": 11_000,
            "depot": place,
            "outlet": {"latitude": 48.42, "longitude": -4.45},
            "include_asset_ids": bins[:12],
            "default_volume_l": 4_000,
        },
    )
    stops = [one["asset_id"] for one in made["bins"] if one["position"] is not None]
    if stops:
        await api.post(f"/v1/rounds/{made['id']}/stops/{stops[0]}/outcome", {"outcome": "emptied"})


async def publish_container(api: Provisioner, name: str) -> None:
    """The level of a container that was measured, for everybody to read."""
    container = (await api.get("/v1/assets", kind=PUBLISHED, q=name))["items"][-1]
    quantities = ["fill_level"]
    await api.post(
        "/v1/publications", {"asset_id": container["id"], "name": "Borne du port", "quantities": quantities}
    )
