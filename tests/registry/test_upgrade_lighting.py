"""The upgrade that makes programs of what assets said of their lamps: nothing is lost, nothing passes unseen."""

import json
from typing import Any

from core.runtime.postgres import connect
from registry.schema import migrate, migrations
from tests.core.runtime.versions import migrate_up_to

CUT = {"rated_power_w": 4200, "night_cut": ["23:30", "5:00"], "dimming": [["22:00", 50]]}
SAID: list[Any] = [
    CUT,
    {**CUT, "rated_power_w": 60, "dimming": [["22:00", 50]]},
    {"rated_power_w": 900},
    None,
    {"nigth_cut": ["23:30", "05:00"], "rated_power_w": 700},
    {"night_cut": ["25:00", "05:00"]},
    {"dimming": [["22:00", 50], ["22:00", 60]]},
    {"rated_power_w": "4200"},
    "23:30",
    {"night_cut": ["24:00", "00:00"]},
]


async def test_what_assets_said_of_their_lamps_becomes_programs_and_what_cannot_be_read_is_kept(
    empty_database_url: str,
) -> None:
    before = next(place for place, one in enumerate(migrations()) if one.name.endswith("_lighting_programs.sql"))
    await migrate_up_to(before, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute("INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz'), ('nancy', 'Nancy')")
    for number, said in enumerate([*SAID, CUT]):
        await connection.execute(
            "INSERT INTO asset (tenant_id, kind, name, attributes) VALUES ($1, 'lighting_cabinet', $2, $3)",
            1 if number < len(SAID) else 2,
            f"A{number}",
            {"lighting": said, "pdl": "x"},
        )

    await migrate(empty_database_url)

    programs = await connection.fetch(
        "SELECT p.tenant_id, p.name, v.program, array_agg(g.asset_id ORDER BY g.asset_id) FROM lighting_program p "
        "JOIN lighting_program_version v ON v.program_id = p.id JOIN lighting_assignment g ON g.version_id = v.id "
        "GROUP BY 1, 2, 3 ORDER BY 1, 4"
    )
    attributes = [row[0] for row in await connection.fetch("SELECT attributes FROM asset ORDER BY id")]
    reported = await connection.fetch(
        "SELECT entity_id::int, details -> 'lighting_unread' FROM audit WHERE actor = 'mise à jour' ORDER BY 1"
    )
    await connection.close()
    cut = {"default": {"night_cut": ["23:30", "5:00"], "dimming": [["22:00", 50]]}}
    assert [(row[0], row[1], _read(row[2]), row[3]) for row in programs] == [
        (1, "Coupure de 23:30 à 5:00, gradation 50 % dès 22:00", cut, [1, 2]),
        (1, "Du coucher au lever du soleil", {"default": {}}, [3, 4]),
        (2, "Coupure de 23:30 à 5:00, gradation 50 % dès 22:00", cut, [11]),
    ]
    watts = [4200, 60, 900, None, 700, None, None, None, None, None, 4200]
    expected: list[dict[str, Any]] = [
        {"pdl": "x"} | ({} if power is None else {"rated_power_w": power}) for power in watts
    ]
    for place in range(4, 10):
        expected[place]["lighting_unread"] = SAID[place]
    assert [_read(one) for one in attributes] == expected
    assert [(row[0], _read(row[1])) for row in reported] == [(place + 1, SAID[place]) for place in range(4, 10)]


def _read(stored: object) -> object:
    return json.loads(stored) if isinstance(stored, str) and stored[:1] in '{["' else stored
