"""The thirty days of the scenario: exactly these messages, though the evaluator is killed again and again."""

from pathlib import Path

import pytest

from alerting import alert_store
from core.runtime.postgres import Pool
from tests.alerting.alert_scenario import scenario_of
from tests.alerting.crashes import Fuse

# Local instant, event, severity, text: checked by hand against the scripts of the scenario, line by line.
LINES = (Path(__file__).parent / "thirty_days.txt").read_text("utf-8").splitlines()
EXPECTED = [tuple(line.split(" | ", 3)) for line in LINES]

COUNTS = """
SELECT (SELECT count(*) FROM alert_notice), count(*) FILTER (WHERE n.recipients <> (n.held_until IS NULL)::int),
       (SELECT count(*) FROM (SELECT alert_id FROM alert_notice_recipient WHERE state = 'queued'
                              GROUP BY alert_id HAVING count(*) > 1) AS twice)
FROM (SELECT held_until, (SELECT count(*) FROM alert_notice_recipient r WHERE r.notice_id = id) AS recipients
      FROM alert_notice) AS n
"""


@pytest.mark.timeout(600)  # A month of statements, at whatever pace the machine has.
async def test_thirty_days_of_a_scenario_give_the_listed_notifications_once_whatever_crashes(pool: Pool) -> None:
    """With another seed, a team, and all that delivers: `test_notified_once.py`, with `--browser`."""
    async with scenario_of(pool, Fuse(1, 600)) as days:
        await days.play()
        alerts = await alert_store.list_alerts(pool, alert_store.WantedAlerts(workflow=["open"]))

        assert days.deaths > 50
        assert await days.town.notifications() == EXPECTED
        # Each has one recipient, but those that wait for Monday; of each alert the last one waits to be sent.
        assert await pool.fetchrow(COUNTS) == (len(EXPECTED), 0, 0)
        # Sensors died when their bins were full: that resolves nothing.
        assert [(one.condition, one.value) for one in alerts if one.rule == "bin_75"] == [
            ("unknown", 92),
            ("unknown", 92),
        ]
