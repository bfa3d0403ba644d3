"""What is notified over an alert's lifecycle, and properties that hold whatever happens."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from alerting.rules.alert_lifecycle import (
    AlertLifecycle,
    NotificationEvent,
    Suppression,
    Workflow,
    begin,
    end,
    finish,
    look,
    raise_to,
)

START = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


def minute(count: float) -> datetime:
    return START + timedelta(minutes=count)


def test_an_alert_that_fires_again_is_the_same_one_once_more() -> None:
    opened, first = begin(None, minute(0), None)
    over, second = end(opened, minute(10), None)
    again, third = begin(over, minute(60), None)

    assert (first, second, third) == (
        NotificationEvent.OPENED,
        NotificationEvent.RESOLVED,
        NotificationEvent.REOPENED,
    )
    assert (again.workflow, again.occurrences, again.ended_at) == (Workflow.OPEN, 2, None)


def test_the_fifth_change_in_six_hours_is_notified_as_flapping_then_summed_up_hourly() -> None:
    life: AlertLifecycle | None = None
    told: list[NotificationEvent | None] = []
    for change in range(8):
        at = minute(10 * change)
        if change % 2:
            assert life is not None
            life, event = end(life, at, None)
        else:
            life, event = begin(life, at, None)
        told.append(event)
    assert life is not None
    digests: list[tuple[float, NotificationEvent | None]] = []
    while life.due_at is not None:
        at = life.due_at
        life, event = look(life, at, None, is_firing=False)
        digests.append(((at - START) / timedelta(minutes=1), event))

    assert told == [
        NotificationEvent.OPENED,
        NotificationEvent.RESOLVED,
        NotificationEvent.REOPENED,
        NotificationEvent.RESOLVED,
        NotificationEvent.FLAPPING,
        None,
        None,
        None,
    ]
    assert digests[0] == (100, NotificationEvent.DIGEST)
    assert [event for _, event in digests[1:]] == [None] * (len(digests) - 1)
    assert not life.is_flapping


def test_a_suppressed_alert_is_notified_when_the_suppression_ends_only_if_it_still_fires() -> None:
    mute = Suppression("silence n° 1", minute(60))
    muted, nothing = begin(None, minute(0), mute)
    still, told = look(muted, minute(60), None, is_firing=True)
    over, silent_end = end(muted, minute(30), mute)

    assert nothing is silent_end is None
    assert (muted.told, muted.muted_by, muted.due_at) == (False, "silence n° 1", minute(60))
    assert told is NotificationEvent.OPENED
    assert (still.told, still.due_at) == (True, None)
    assert over.due_at is None


def test_a_graver_rung_is_notified_as_an_opening_when_no_opening_was_notified() -> None:
    muted, _ = begin(None, minute(0), Suppression("silence n° 1", minute(60)))
    told_late, event = raise_to(muted, None)

    assert (told_late.told, event) == (True, NotificationEvent.OPENED)
    assert raise_to(told_late, None) == (told_late, NotificationEvent.RAISED)


def test_what_a_person_ends_while_it_fires_opens_again_and_what_is_over_by_then_does_not() -> None:
    opened, _ = begin(None, minute(0), None)
    closed = finish(opened, Workflow.CLOSED, minute(5), minute(245))
    early = look(closed, minute(200), None, is_firing=True)
    again, told = look(closed, minute(245), None, is_firing=True)
    over, nothing = end(closed, minute(100), None)

    assert early == (closed, None)
    assert (again.workflow, again.occurrences, told) == (Workflow.OPEN, 2, NotificationEvent.REOPENED)
    assert nothing is None
    assert (over.workflow, over.due_at) == (Workflow.CLOSED, None)


steps = st.lists(
    st.tuples(st.sampled_from(["fire", "end", "close", "look", "raise"]), st.integers(1, 200), st.booleans()),
    max_size=60,
)


@given(steps)
def test_an_end_is_notified_when_the_opening_was_and_leaves_nothing_due(  # noqa: C901
    trace: list[tuple[str, int, bool]],
) -> None:
    life: AlertLifecycle | None = None
    now, is_firing, was_told = START, False, False
    for action, minutes, is_muted in trace:
        now += timedelta(minutes=minutes)
        mute = Suppression("silence", now + timedelta(minutes=30)) if is_muted else None
        event: NotificationEvent | None = None
        if action == "fire" and not is_firing:
            is_firing = True
            life, event = begin(life, now, mute)
        elif life is None:
            continue
        elif action == "end" and is_firing:
            is_firing = False
            life, event = end(life, now, mute)
        elif action == "close" and life.is_live:
            life = finish(life, Workflow.CLOSED, now, now + timedelta(hours=4) if is_firing else None)
            was_told = False
        elif action == "raise" and is_firing:
            life, event = raise_to(life, mute)
        elif action == "look":
            before = life.due_at
            life, event = look(life, now, mute, is_firing=is_firing)
            assert before is None or before > now or life.due_at != before
        if event is NotificationEvent.RESOLVED:
            assert was_told
        if is_muted and event is not None:
            raise AssertionError("somebody was told while it was muted")
        was_told = was_told or event is not None
        assert life.told or life.muted_by is not None or not life.is_live or life.is_flapping
        # However it goes on, it comes to rest: no deadline follows another for ever.
        resting = life
        for _ in range(40):
            if resting.due_at is None:
                break
            resting, _ = look(resting, resting.due_at, None, is_firing=False)
        assert resting.due_at is None


@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["change", "change", "raise", "look"])), max_size=40),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 600)), max_size=3),
)
@example([(1, "change")] * 7, [(0, 6)])
def test_an_alert_that_fires_without_suppression_is_notified_whatever_came_before(
    trace: list[tuple[int, str]], silences: list[tuple[int, int]]
) -> None:
    def suppression_at(at: datetime) -> Suppression | None:
        ends = [
            minute(begins + lasts) for begins, lasts in silences if minute(begins) <= at < minute(begins + lasts)
        ]
        return Suppression("silence", max(ends)) if ends else None

    life: AlertLifecycle | None = None
    now, is_firing, is_known, is_known_to_flap = START, False, False, False

    def apply(event: NotificationEvent | None) -> None:
        nonlocal is_known, is_known_to_flap
        is_known = is_known or event is not None
        is_known_to_flap = is_known_to_flap or event is NotificationEvent.FLAPPING

    for minutes, action in trace:
        now += timedelta(minutes=minutes)
        while life is not None and life.due_at is not None and life.due_at <= now:
            due_at = life.due_at
            life, event = look(life, due_at, suppression_at(due_at), is_firing=is_firing)
            apply(event)
        if action == "change" and not is_firing:
            is_firing, is_known = True, False
            life, event = begin(life, now, suppression_at(now))
            apply(event)
        elif action == "change" and life is not None:
            is_firing = False
            life, event = end(life, now, suppression_at(now))
            apply(event)
        elif action == "raise" and is_firing and life is not None:
            life, event = raise_to(life, suppression_at(now))
            apply(event)
        is_known_to_flap = is_known_to_flap and life is not None and life.is_flapping
        if is_firing and suppression_at(now) is None:
            assert is_known or is_known_to_flap
