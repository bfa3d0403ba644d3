"""What is not said to be good again while something else keeps an examination from looking at it.

The table is written by hand, from what each examination does after what it finds.
"""

import pytest

from cli.finding_kinds import HIDES, Subject
from cli.findings import critical
from tests.cli.test_alarm_news import OnCall

# Read in the database after its clock, its zone and its shards were found right.
READ_IN_IT = (
    "alerts archive cold credentials database_clock drill feed gateways isolation key logins mqtt_accounts "
    "privacy quarantine rights rollups schema service shards time_zone timescale units"
)
OF_THE_STACK = f"{READ_IN_IT} database bus broker process"
HIDDEN = {
    "stack.incomplete": OF_THE_STACK,
    "stack.stopped": OF_THE_STACK,
    "stack.unreadable": OF_THE_STACK,
    "database.away": f"{READ_IN_IT} database",
    "database.refuses": f"{READ_IN_IT} database",
    "schema.mismatch": READ_IN_IT,
    "units.mismatch": READ_IN_IT,
    "timescale.unusable": READ_IN_IT,
    "database_clock.skewed": READ_IN_IT,
    "time_zone.unknown": READ_IN_IT,
    "shards.differ": READ_IN_IT,
    "bus.away": "bus",
    "bus.keeps_nothing": "bus",
    "broker.away": "broker",
    "disk.away": "disk backup",
    "examination.ended.backup": "backup",
    "examination.ended.process": "process",
    "examination.ended.database": f"{READ_IN_IT} database",
    "examination.ended.archive": "archive drill",
    "examination.ended.bus": "bus",
    "examination.ended.broker": "broker",
    "examination.ended": " ".join(Subject),
}


def test_nothing_else_hides_anything() -> None:
    assert set(HIDES) == set(HIDDEN)


@pytest.mark.parametrize("cause", HIDDEN)
def test_what_cannot_be_looked_at_is_not_said_to_be_good_again(cause: str) -> None:
    somebody = OnCall()
    bad = [critical(f"{subject}.known", "mal", "réparez") for subject in Subject]
    for _ in range(2):
        somebody.examination(*bad)

    # It goes on, so that even what nobody looks at is over where the alarm forgets that.
    good_again = [somebody.examination(critical(cause, "mal", "réparez"))[1] for _ in range(3)]

    hidden = {f"{subject}.known" for subject in HIDDEN[cause].split()}
    assert {key for good in good_again for key in good} == {f"{subject}.known" for subject in Subject} - hidden
    assert hidden <= set(somebody.examination()[1])
