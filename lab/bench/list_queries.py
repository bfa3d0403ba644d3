"""The lists of the API in `bench queries`: a page of fifty of each, in its costliest orders and by its filters."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from alerting import alert_store
from api import asset_list_store, store
from core.runtime.postgres import Connection
from registry import assets, device_lists, gateways
from registry.listing import Ask
from registry.places import Circle, Place
from registry.wanted_datastreams import WantedDatastreams

SHOWN, GOAL_MS = 50, 60.0
# The console and GIS look at the middle of the territory.
MIDDLE = "SELECT avg(longitude) AS longitude, avg(latitude) AS latitude FROM asset WHERE tenant_id = $1"
NEAR_M = 3_000.0
Read = Callable[[Connection], Awaitable[int]]


def list_reads(longitude: float, latitude: float) -> Mapping[str, Read]:
    """What is asked, by its name as a request."""
    near = Place(circle=Circle(longitude, latitude, NEAR_M))
    box = Place(box=(longitude - 0.02, latitude - 0.02, longitude + 0.02, latitude + 0.02))
    return {
        **{f"assets?sort={sort}": _assets(sort) for sort in ("id", "name", "-last_seen_at", "state")},
        "assets?near&sort=distance": _assets("distance", assets.WantedAssets(place=near)),
        "assets?bbox": _assets("id", assets.WantedAssets(place=box)),
        "assets?q": _assets("id", assets.WantedAssets(search="rue")),
        "assets?state=silent": _assets("id", states=["silent"]),
        **{f"devices?sort={sort}": _devices(sort) for sort in ("id", "name", "last_seen_at", "battery_percent")},
        "devices?near": _devices("id", device_lists.WantedDevices(place=near)),
        "devices?state=silent": _devices("id", device_lists.WantedDevices(states=["silent"])),
        **{f"alerts?sort={sort}": _alerts(sort) for sort in ("-id", "-severity", "asset")},
        "gateways?sort=name": _gateways,
        **{f"latest?sort={sort}": _latest(sort) for sort in ("id", "-time", "-value")},
        "latest?bbox": _latest("id", WantedDatastreams(place=box)),
        "assets/map": _map,
    }


def _assets(sort: str, wanted: assets.WantedAssets | None = None, states: Sequence[str] | None = None) -> Read:
    async def read(connection: Connection) -> int:
        asked = wanted or assets.WantedAssets()
        part = await asset_list_store.list_assets(connection, Ask(sort, None, SHOWN), asked, states)
        await asset_list_store.read_conditions(connection, part.ids)
        return len(await assets.read_in_order(connection, part.ids))

    return read


def _devices(sort: str, wanted: device_lists.WantedDevices | None = None) -> Read:
    async def read(connection: Connection) -> int:
        asked = wanted or device_lists.WantedDevices()
        part = await device_lists.list_devices(connection, Ask(sort, None, SHOWN), asked)
        return len(await device_lists.read_in_order(connection, part.ids))

    return read


def _alerts(sort: str) -> Read:
    async def read(connection: Connection) -> int:
        return len(await alert_store.list_alerts(connection, ask=Ask(sort, None, SHOWN)))

    return read


async def _gateways(connection: Connection) -> int:
    part = await gateways.list_gateways(connection, Ask("name", None, SHOWN))
    return len(await gateways.read_in_order(connection, part.ids))


def _latest(sort: str, wanted: WantedDatastreams | None = None) -> Read:
    async def read(connection: Connection) -> int:
        part = await store.list_latest(connection, Ask(sort, None, SHOWN), wanted or WantedDatastreams())
        await store.read_latest(connection, part.ids)
        return len(await store.read_in_order(connection, part.ids))

    return read


async def _map(connection: Connection) -> int:
    return (await asset_list_store.read_map(connection, assets.WantedAssets())).count('"Feature"')
