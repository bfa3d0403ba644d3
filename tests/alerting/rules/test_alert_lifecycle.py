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
    opened, first = begin(None, minute(0), "warning", None)
    over, second = end(opened, minute(10), None)
    again, third = begin(over, minute(60), "warning", None)

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
            life, event = begin(life, at, "warning", None)
        told.append(event)
    assert life is not None
    digests: list[tuple[float, NotificationEvent | None]] = []
    while life.due_at is not None:
        at = life.due_at
        life, event = look(life, at, "warning", None, is_firing=False)
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
    muted, nothing = begin(None, minute(0), "warning", mute)
    still, told = look(muted, minute(60), "warning", None, is_firing=True)
    over, silent_end = end(muted, minute(30), mute)

    assert nothing is silent_end is None
    assert (muted.notified, muted.muted_by, muted.due_at) == (None, "silence n° 1", minute(60))
    assert told is NotificationEvent.OPENED
    assert (still.notified, still.due_at) == ("warning", None)
    assert over.due_at is None


def test_a_graver_rung_is_notified_as_an_opening_when_no_opening_was_notified() -> None:
    muted, _ = begin(None, minute(0), "warning", Suppression("silence n° 1", minute(60)))
    late, event = raise_to(muted, "major", None)
    graver, second = raise_to(late, "critical", None)

    assert (late.notified, event) == ("major", NotificationEvent.OPENED)
    assert (graver.notified, second) == ("critical", NotificationEvent.RAISED)


def test_a_rise_in_a_silence_is_notified_at_its_end_at_the_severity_of_then() -> None:
    opened, _ = begin(None, minute(0), "warning", None)
    silence = Suppression("silence n° 1", minute(60))
    risen, nothing = raise_to(opened, "major", silence)
    again, still_nothing = raise_to(risen, "critical", silence)
    after, event = look(again, minute(60), "critical", None, is_firing=True)

    assert nothing is still_nothing is None
    assert (risen.due_at, risen.muted_by) == (minute(60), "silence n° 1")
    assert (event, after.notified, after.due_at) == (NotificationEvent.RAISED, "critical", None)


def test_an_end_in_a_silence_is_notified_at_its_end() -> None:
    opened, _ = begin(None, minute(0), "warning", None)
    over, nothing = end(opened, minute(20), Suppression("silence n° 1", minute(60)))
    prolonged, still_nothing = look(
        over, minute(60), "warning", Suppression("silence n° 2", minute(90)), is_firing=False
    )
    after, event = look(prolonged, minute(90), "warning", None, is_firing=False)

    assert nothing is still_nothing is None
    assert (over.workflow, over.due_at, prolonged.due_at) == (Workflow.RESOLVED, minute(60), minute(90))
    assert (event, after.due_at) == (NotificationEvent.RESOLVED, None)


def test_an_alert_that_ends_and_fires_again_in_a_silence_has_nothing_new_to_notify() -> None:
    silence = Suppression("silence n° 1", minute(60))
    opened, _ = begin(None, minute(0), "warning", None)
    over, _ = end(opened, minute(20), silence)
    again, _ = begin(over, minute(30), "warning", silence)
    graver, _ = raise_to(again, "major", silence)
    milder, _ = begin(
        end(raise_to(opened, "major", None)[0], minute(20), silence)[0], minute(30), "warning", silence
    )

    assert look(milder, minute(60), "warning", None, is_firing=True)[1] is NotificationEvent.REOPENED
    assert look(again, minute(60), "warning", None, is_firing=True)[1] is None
    assert look(graver, minute(60), "major", None, is_firing=True)[1] is NotificationEvent.RAISED


def test_the_end_of_what_a_cause_explains_is_notified_at_once() -> None:
    opened, _ = begin(None, minute(0), "warning", None)
    over, event = end(opened, minute(20), Suppression("armoire", minute(60), is_cause=True))

    assert (event, over.due_at) == (NotificationEvent.RESOLVED, None)


def test_a_flapping_alert_that_calms_down_in_a_silence_is_notified_as_it_is_at_the_silences_end() -> None:
    life: AlertLifecycle | None = None
    for change in range(6):
        at = minute(10 * change)
        life, _ = begin(life, at, "warning", None) if change % 2 == 0 else end(life or AlertLifecycle(), at, None)
    assert life is not None
    silence = Suppression("silence n° 1", minute(900))
    while life.is_flapping:
        assert life.due_at is not None
        life, nothing = look(life, life.due_at, "warning", silence, is_firing=False)
        assert nothing is None
    after, event = look(life, minute(900), "warning", None, is_firing=False)

    assert (event, after.due_at) == (NotificationEvent.RESOLVED, None)


def test_an_open_flapping_alert_that_calms_down_in_a_silence_is_notified_as_open_at_its_end() -> None:
    life: AlertLifecycle | None = None
    for change in range(7):
        at = minute(10 * change)
        life, _ = begin(life, at, "warning", None) if change % 2 == 0 else end(life or AlertLifecycle(), at, None)
    assert life is not None
    silence = Suppression("silence n° 1", minute(900))
    while life.is_flapping:
        assert life.due_at is not None
        life, _ = look(life, life.due_at, "warning", silence, is_firing=True)
    after, event = look(life, minute(900), "warning", None, is_firing=True)

    assert (event, after.notified, after.due_at) == (NotificationEvent.REOPENED, "warning", None)


def test_what_a_person_ends_while_it_fires_opens_again_and_what_is_over_by_then_does_not() -> None:
    opened, _ = begin(None, minute(0), "warning", None)
    closed = finish(opened, Workflow.CLOSED, minute(5), minute(245))
    early = look(closed, minute(200), "warning", None, is_firing=True)
    again, told = look(closed, minute(245), "warning", None, is_firing=True)
    over, nothing = end(closed, minute(100), None)

    assert early == (closed, None)
    assert (again.workflow, again.occurrences, told) == (Workflow.OPEN, 2, NotificationEvent.REOPENED)
    assert nothing is None
    assert (over.workflow, over.due_at) == (Workflow.CLOSED, None)


GRAVITIES = ("info", "warning", "major", "critical")
steps = st.lists(
    st.tuples(
        st.sampled_from(["fire", "end", "close", "look", "raise"]),
        st.integers(1, 200),
        st.sampled_from(["", "", "silence", "cause"]),
    ),
    max_size=60,
)


@given(steps)
@example(
    [("fire", 1, "silence"), ("end", 1, ""), ("fire", 1, ""), ("end", 1, ""), ("fire", 1, "cause"), ("end", 1, "")]
)
def test_recipients_know_what_holds_and_what_is_over_as_soon_as_nothing_suppresses_it(  # noqa: C901
    trace: list[tuple[str, int, str]],
) -> None:
    """`known`: the severity at which recipients believe that it is on; None: they do not."""
    life: AlertLifecycle | None = None
    now, is_firing, known, rung = START, False, None, 0

    def apply(event: NotificationEvent | None, suppression: Suppression | None) -> None:
        nonlocal known
        assert (
            event is None or suppression is None or (suppression.is_cause and event is NotificationEvent.RESOLVED)
        )
        if event is NotificationEvent.RESOLVED:
            assert known is not None
            known = None
        elif event is NotificationEvent.DIGEST:  # It says whether it is on.
            known = GRAVITIES[rung] if life is not None and life.is_live else None
        elif event is not None:
            known = GRAVITIES[rung]

    for action, minutes, kind in trace:
        now += timedelta(minutes=minutes)
        suppression = Suppression(kind, now + timedelta(minutes=30), kind == "cause") if kind else None
        while life is not None and life.due_at is not None and life.due_at <= now:
            before = life
            life, event = look(life, now, GRAVITIES[rung], suppression, is_firing=is_firing)
            apply(event, suppression)
            assert life != before
        event: NotificationEvent | None = None
        if action == "fire" and not is_firing:
            is_firing, rung = True, 1
            life, event = begin(life, now, GRAVITIES[rung], suppression)
        elif life is None:
            continue
        elif action == "end" and is_firing:
            is_firing = False
            life, event = end(life, now, suppression)
        elif action == "close" and life.is_live and life.workflow is Workflow.OPEN:
            life = finish(life, Workflow.CLOSED, now, now + timedelta(hours=4) if is_firing else None)
            known = None  # People have said so themselves.
        elif action == "raise" and is_firing and life.is_live and rung < len(GRAVITIES) - 1:
            rung += 1
            life, event = raise_to(life, GRAVITIES[rung], suppression)
        apply(event, suppression)
        # However it goes on, it comes to rest, and then everybody knows how things are.
        resting, at = life, now
        believed = known
        for _ in range(60):
            if resting.due_at is None:
                break
            at = max(at, resting.due_at)
            resting, event = look(resting, at, GRAVITIES[rung], None, is_firing=False)
            if event is NotificationEvent.RESOLVED or (event is NotificationEvent.DIGEST and not resting.is_live):
                believed = None
            elif event is not None:
                believed = GRAVITIES[rung]
        assert resting.due_at is None
        assert not resting.is_live or believed == GRAVITIES[rung] or resting.is_flapping
        assert resting.is_live or believed is None


@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["change", "change", "raise", "look"])), max_size=40),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 600)), max_size=3),
)
@example([(1, "change")] * 7, [(0, 6)])
def test_an_alert_that_fires_without_suppression_is_notified_whatever_came_before(  # noqa: C901
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
        if event is NotificationEvent.RESOLVED:
            is_known = False
        elif event is NotificationEvent.DIGEST:
            is_known = life is not None and life.is_live
        elif event is not None:
            is_known = True
        is_known_to_flap = is_known_to_flap or event is NotificationEvent.FLAPPING

    for minutes, action in trace:
        now += timedelta(minutes=minutes)
        while life is not None and life.due_at is not None and life.due_at <= now:
            due_at = life.due_at
            life, event = look(life, due_at, "warning", suppression_at(due_at), is_firing=is_firing)
            apply(event)
        if action == "change" and not is_firing:
            is_firing = True
            life, event = begin(life, now, "warning", suppression_at(now))
            apply(event)
        elif action == "change" and life is not None:
            is_firing = False
            life, event = end(life, now, suppression_at(now))
            apply(event)
        elif action == "raise" and is_firing and life is not None:
            life, event = raise_to(life, "major", suppression_at(now))
            apply(event)
        is_known_to_flap = is_known_to_flap and life is not None and life.is_flapping
        if is_firing and suppression_at(now) is None:
            assert is_known or is_known_to_flap
