"""What intake keeps about its sources."""

from core.runtime.postgres import Pool
from integrations.lns.store import Unread, save_unread


async def test_a_message_that_nobody_can_read_is_kept_once_however_often_it_comes(pool: Pool) -> None:
    same = [Unread(1, "illisible", b"\x00rubbish")] * 2

    await save_unread(pool, same)
    await save_unread(pool, [*same, Unread(2, "illisible", b"\x00rubbish")])
    kept = await pool.fetch("SELECT service, subject, data FROM observation.quarantine ORDER BY subject")

    assert [tuple(row) for row in kept] == [
        ("intake", "lns_source 1", b"\x00rubbish"),
        ("intake", "lns_source 2", b"\x00rubbish"),
    ]
