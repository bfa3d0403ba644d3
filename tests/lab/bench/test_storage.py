from io import StringIO
from typing import Any

from rich.console import Console

from core.runtime.postgres import open_pool
from lab.bench.storage import BY_DEVICE, BY_HISTORY, BY_UPLINK, print_storage, read_size

FILL = """
INSERT INTO observation.measurement (datastream_id, time, value)
SELECT n % 10, timestamptz '2026-11-01' + n * interval '1 hour', n FROM generate_series(0, 999) n
"""
FIGURES: dict[str, Any] = {
    "uplinks": 10, "devices": 2, "edition": "apache", "values_per_uplink": 5.0,
    "octets_per_row": {"observation.uplink": {"rows": 10, "heap": 459.8, "indexes": 82.7}},
    "octets_per_device": {"device": {"heap": 200.0, "indexes": 150.0}},
    "log_octets_per_uplink": 2_500.0, "log_octets_per_uplink_after_a_checkpoint": 30_800.0,
    "bus_octets_per_uplink": {"frames": 128.4}, "peak_megabytes": {"network": 72},
}  # fmt: skip


async def test_the_size_of_a_table_is_that_of_all_its_chunks(database) -> None:
    async with open_pool(database.admin_url, "bench") as pool:
        await pool.execute(FILL)
        filled = await read_size(pool, "observation.measurement")
        empty = [
            await read_size(pool, table)
            for table in (*BY_UPLINK, *BY_DEVICE, *BY_HISTORY)
            if "measure" not in table
        ]

    # Six weeks, a chunk each: at least a page of rows in every one, and one of index.
    assert filled.rows == 1_000
    assert filled.heap >= 6 * 8_192
    assert filled.indexes >= 6 * 8_192
    assert filled.per_row["heap"] == round(filled.heap / 1_000, 1)
    assert [size.rows for size in empty] == [0] * len(empty)


def test_the_table_says_what_a_row_takes_in_all() -> None:
    out = StringIO()
    print_storage(Console(file=out, width=130), FIGURES)

    assert "542" in out.getvalue()
    assert "30800 quand" in out.getvalue()
    assert "350 octets de registre" in " ".join(out.getvalue().split())
