from datetime import UTC, datetime, timedelta

from cli.alarm_news import Known, News, news, subject_of, text_of
from cli.findings import Finding, critical, good, warning

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
TWO_MINUTES = timedelta(minutes=2)
BUS = critical("bus", "ne répond pas", "démarrez-le")
DISK = warning("disque", "4 Go libres", "libérez de la place")


def reports(*examinations: list[Finding], every: timedelta = TWO_MINUTES) -> list[News]:
    known: dict[str, Known] = {}
    found: list[News] = []
    for number, findings in enumerate(examinations):
        one, known = news(known, findings, NOW + number * every)
        found.append(one)
    return found


def test_what_one_examination_alone_has_seen_wakes_nobody() -> None:
    assert [bool(one) for one in reports([BUS], [good("bus", "répond")], [BUS], [])] == [False] * 4


def test_what_two_have_seen_is_told_once_and_its_end_too() -> None:
    found = reports([BUS], [BUS], [BUS], [BUS], [good("bus", "répond")], [])

    assert [one.bad for one in found] == [[], [BUS], [], [], [], []]
    assert [one.good for one in found] == [[], [], [], [], [BUS], []]


def test_what_gets_worse_is_told_again_and_what_gets_better_is_not() -> None:
    full = critical("disque", "presque plein", "libérez de la place")
    found = reports([DISK], [DISK], [full], [full], [DISK], [DISK])

    assert [one.bad for one in found] == [[], [DISK], [full], [], [], []]


def test_what_stays_bad_is_told_again_every_day() -> None:
    found = reports([BUS], [BUS], [BUS], [BUS], [BUS], [BUS], every=timedelta(hours=12))

    assert [bool(one.bad) for one in found] == [False, True, False, True, False, True]


def test_the_worst_of_one_subject_is_told() -> None:
    late = warning("bus", "se remplit", "regardez")

    assert reports([late, BUS], [BUS, late])[1].bad == [BUS]


def test_a_unit_that_failed_is_told_at_once() -> None:
    backup = critical("territoire-backup.service", "a échoué", "journalctl")
    one, known = news({}, [backup], NOW, at_once=True)
    again, _ = news(known, [backup], NOW + timedelta(hours=1), at_once=True)
    # Its timer is late by up to twenty minutes, one night and not the next.
    tomorrow, _ = news(known, [backup], NOW + timedelta(hours=23, minutes=40), at_once=True)

    assert (one.bad, again.bad, tomorrow.bad) == ([backup], [], [backup])


def test_the_letter_says_what_where_and_what_to_do() -> None:
    letter = News([BUS, DISK], [critical("broker MQTT", "muet", "démarrez-le")])

    assert subject_of("metz", letter) == "Territoire (metz) : en panne : bus, disque"
    assert subject_of("metz", News([DISK], [])) == "Territoire (metz) : à surveiller : disque"
    assert subject_of("metz", News([], [DISK])) == "Territoire (metz) : rétabli"
    assert text_of(letter) == (
        "EN PANNE : bus : ne répond pas\n  À faire : démarrez-le\n\n"
        "À SURVEILLER : disque : 4 Go libres\n  À faire : libérez de la place\n\n"
        "RÉTABLI :\n  broker MQTT (muet)\n"
    )
