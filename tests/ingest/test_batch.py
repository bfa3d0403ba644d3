"""When the assets of a batch were heard: by the newest of what is measured at a credible instant."""

from core.messages.measurements import Flag
from core.messages.uplinks import Reception, Uplink
from ingest.batch import Prepared, compose
from ingest.pipeline import Interpreted, Row, Serving

AT_US = 1_795_597_200_000_000
SUSPECT, MISDATED = int(Flag.SUSPECT), int(Flag.TIME_SUSPECT)


def interpreted(
    asset_id: int | None, time_us: int, rows: list[Row], history: list[Row] | None = None
) -> Interpreted:
    uplink = Uplink(
        time_us.to_bytes(16), 7, 7, 1, 5, b"x", False, time_us, time_us, 868_100_000, 7, 125_000, False,
        list[Reception](),
    )  # fmt: skip
    one = Interpreted(uplink, Serving(1, asset_id, 7), "decoded", rows={row[0]: row for row in rows})
    one.history = history or []
    one.is_misdated = any(row[3] & MISDATED for row in rows)
    return one


def test_an_asset_was_heard_when_the_newest_of_its_values_was_measured() -> None:
    newest, before = AT_US + 5, AT_US - 3_600_000_000
    batch = Prepared(
        uplinks=[
            interpreted(1, AT_US, [(11, AT_US, 1.0, 0)]),
            interpreted(1, newest, [(12, newest, 1.0, SUSPECT)]),  # Improbable, but said.
            interpreted(1, before, [(11, before, 1.0, 0)]),  # Late.
            interpreted(2, AT_US, [(21, AT_US, 1.0, MISDATED)]),  # Nobody knows when.
            interpreted(3, AT_US, [(31, AT_US, 1.0, MISDATED), (32, AT_US, 1.0, 0)]),
            interpreted(4, AT_US, [], [(41, before, 1.0, 0), (41, before - 1, 1.0, 0)]),
            interpreted(5, AT_US, []),  # Nothing was measured.
            interpreted(None, AT_US, [(61, AT_US, 1.0, 0)]),  # It serves nothing.
        ]
    )

    assert compose(batch).last_seen == {1: newest, 3: AT_US, 4: before}
