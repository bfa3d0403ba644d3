"""What lists say of which rows there are, against statements that leave that to row security alone."""

from api import store
from core.runtime.postgres import Connection
from registry import assets, device_lists
from registry.listing import Ask

ALL = 1_000
LISTS = (
    (store.LIST_LATEST, store.WantedDatastreams(), "value", """
     SELECT l.datastream_id AS id FROM latest l JOIN datastream d ON d.id = l.datastream_id
     JOIN device v ON v.id = d.device_id"""),
    (store.LIST_LATEST, store.WantedDatastreams(asset_kind="room"), "asset", """
     SELECT l.datastream_id AS id FROM latest l JOIN datastream d ON d.id = l.datastream_id
     JOIN device v ON v.id = d.device_id JOIN asset a ON a.id = d.asset_id WHERE a.kind = 'room'"""),
    (store.LIST_DATASTREAMS, store.WantedDatastreams(), "asset", """
     SELECT d.id FROM datastream d JOIN device v ON v.id = d.device_id"""),
    (device_lists.LIST, device_lists.WantedDevices(), "name", "SELECT id FROM device WHERE archived_at IS NULL"),
    (device_lists.LIST, device_lists.WantedDevices(kind="room"), "commune", """
     SELECT d.id FROM device d JOIN assignment s ON s.device_id = d.id AND upper_inf(s.during)
     JOIN asset a ON a.id = s.asset_id WHERE a.kind = 'room' AND d.archived_at IS NULL"""),
    (assets.LIST, assets.WantedAssets(), "name", "SELECT id FROM asset WHERE archived_at IS NULL"),
)  # fmt: skip
# As who sees everything.
ASTRAY = """
SELECT count(*) FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id
WHERE l.tenant_id IS DISTINCT FROM d.tenant_id
"""


async def same_lists(connection: Connection) -> None:
    """In every order there are the rows that who has entered sees, and each once."""
    for listing, wanted, sort, plain in LISTS:
        seen = sorted(row["id"] for row in await connection.fetch(plain))
        assert seen, plain
        for order in ("id", "-id", sort, f"-{sort}"):
            part = await listing.page(connection, Ask(order, None, ALL), wanted.values())
            assert sorted(part.ids) == seen, (plain, order)
