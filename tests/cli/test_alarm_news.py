from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cli.alarm_letter import how_it_ended, subject_of, text_of
from cli.alarm_news import Event, News, Notified, Watched, going_on, happened, news, notified_after, settled, watch
from cli.finding_kinds import IN_FRENCH, Kind, Subject
from cli.finding_kinds import subject_of as subject_of_kind
from cli.findings import Finding, Severity, critical, good, warning

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
TWO_MINUTES = timedelta(minutes=2)
BUS = critical(Kind.BUS_AWAY, "ne répond pas", "démarrez-le")
BUS_OPEN = critical(Kind.BUS_OPEN, "laisse entrer sans mot de passe", "donnez-lui des comptes")
DISK = warning(Kind.DISK_SCARCE, "4 Go libres", "libérez de la place")
FULL = critical(Kind.DISK_SCARCE, "presque plein", "libérez de la place")
UNKNOWN = warning(Kind.GATEWAYS_UNKNOWN, "une se présente", "enregistrez-la")
BACKUP = critical(Kind.UNIT_FAILED, "a échoué", "journalctl", ["territoire-backup.service"])
STOPPED = critical(Kind.UNIT_STOPPED, "s'est arrêté", "journalctl", ["territoire.service"])


def silent(*names: str) -> Finding:
    return warning(Kind.GATEWAYS_SILENT, "plus rien", "regardez", names)


def unready(*names: str) -> Finding:
    return critical(Kind.PROCESS_UNREADY, "la base ne répond pas", "réparez", names)


class OnCall:
    """One who gets every message, and the clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.watched, self.notified = Watched(), dict[str, Notified]()
        self.events: dict[str, Event] = {}

    def examination(self, *findings: Finding, after: timedelta = TWO_MINUTES) -> tuple[list[str], list[str]]:
        """What the message says is bad, and good again."""
        self.now += after
        self.watched = watch(self.watched, findings, self.now)
        self.events = going_on(self.events, self.watched, self.now)
        return self._read()

    def end(self, *findings: Finding, after: timedelta = timedelta()) -> list[str]:
        self.now += after
        self.events = happened(self.events, findings, self.now)
        return self._read()[0]

    def success(self) -> tuple[list[str], list[str]]:
        self.events = {}
        return self._read()

    def _read(self) -> tuple[list[str], list[str]]:
        self.notified = settled(self.notified, self.watched, self.now)
        report = news(self.notified, self.watched, self.events, self.now)
        self.notified = notified_after(self.notified, report, self.watched, self.events, self.now)
        return list(report.bad), list(report.good)


def reports(*examinations: list[Finding], every: timedelta = TWO_MINUTES) -> list[tuple[list[str], list[str]]]:
    somebody = OnCall()
    return [somebody.examination(*findings, after=every) for findings in examinations]


def bad(*examinations: list[Finding], every: timedelta = TWO_MINUTES) -> list[list[str]]:
    return [one for one, _ in reports(*examinations, every=every)]


def test_what_one_examination_alone_has_seen_wakes_nobody() -> None:
    assert reports([BUS], [good(Subject.BUS, "répond")], [BUS], []) == [([], [])] * 4


def test_what_two_have_seen_is_told_once_and_its_end_too() -> None:
    found = reports([BUS], [BUS], [BUS], [BUS], [good(Subject.BUS, "répond")], [])

    assert found == [([], []), (["bus.away"], []), ([], []), ([], []), ([], ["bus.away"]), ([], [])]


def test_what_gets_worse_is_told_again_and_what_gets_better_is_not() -> None:
    found = bad([DISK], [DISK], [FULL], [FULL], [DISK], [DISK])

    assert found == [[], ["disk.scarce"], ["disk.scarce"], [], [], []]


def test_what_is_less_bad_for_an_hour_and_then_as_bad_again_is_told_again() -> None:
    somebody = OnCall()
    for findings in ([FULL], [FULL]):
        somebody.examination(*findings)

    assert [somebody.examination(one) for one in (DISK, FULL, DISK, FULL)] == [([], [])] * 4
    assert somebody.examination(DISK) == ([], [])
    assert somebody.examination(DISK, after=timedelta(hours=1)) == ([], [])
    assert somebody.examination(FULL) == (["disk.scarce"], [])


def test_what_stays_bad_is_told_again_every_day() -> None:
    found = bad([BUS], [BUS], [BUS], [BUS], [BUS], [BUS], every=timedelta(hours=12))

    assert [bool(one) for one in found] == [False, True, False, True, False, True]


def test_a_second_fault_of_one_subject_is_told_whatever_the_first_was() -> None:
    assert bad([UNKNOWN], [UNKNOWN], [UNKNOWN, silent("Mairie")], [UNKNOWN, silent("Mairie")])[-1] == [
        "gateways.silent/Mairie"
    ]
    assert bad([BUS_OPEN], [BUS_OPEN], [BUS], [BUS])[-1] == ["bus.away"]
    assert bad([silent("Mairie")], [silent("Mairie")], *[[silent("Mairie", "École")]] * 2)[-1] == [
        "gateways.silent/École"
    ]


def test_processes_that_are_not_ready_worse_other_partly_good_good_again() -> None:
    somebody = OnCall()
    somebody.examination(unready("network"))

    assert somebody.examination(unready("network")) == (["process.unready/network"], [])
    assert somebody.examination(unready("network", "ingest")) == ([], [])
    assert somebody.examination(unready("network", "ingest")) == (["process.unready/ingest"], [])
    assert somebody.examination(unready("ingest")) == ([], ["process.unready/network"])
    assert somebody.examination(unready("ingest"), unready("api")) == ([], [])
    assert somebody.examination(unready("api")) == (["process.unready/api"], ["process.unready/ingest"])
    assert somebody.examination() == ([], ["process.unready/api"])


def test_what_could_not_be_looked_at_is_not_said_to_be_good_again() -> None:
    """Who hears that gateways are good again while the database is away believes it."""
    away = critical(Kind.DATABASE_AWAY, "ne répond pas", "démarrez-la")
    somebody = OnCall()
    for findings in ([silent("Mairie"), BUS_OPEN], [silent("Mairie"), BUS_OPEN], [away], [away, BUS]):
        assert somebody.examination(*findings)[1] == (["bus.open"] if findings == [away] else [])
    killed = critical(Kind.STACK_STOPPED, "a été tuée", "démarrez-la")

    assert [somebody.examination(killed)[1] for _ in range(2)] == [[], []]
    assert sorted(somebody.examination(BUS)[1]) == [
        *("database.away", "gateways.silent/Mairie", "stack.stopped"),
    ]


def test_what_comes_and_goes_is_over_once_it_has_stayed_away_for_an_hour() -> None:
    somebody = OnCall()
    said = [somebody.examination(*findings) for _ in range(60) for findings in ([BUS], [BUS], [], [])]

    assert [one for one in said if one != ([], [])] == [(["bus.away"], []), ([], ["bus.away"]), (["bus.away"], [])]
    assert [somebody.examination(after=timedelta(minutes=25))[1] for _ in range(4)] == [[], [], ["bus.away"], []]


def test_a_unit_that_fails_again_is_told_ever_more_seldom_and_every_night() -> None:
    somebody = OnCall()
    told = [minute for minute in range(24 * 60) if somebody.end(BACKUP, after=timedelta(minutes=1))]

    assert [minute // 60 for minute in told] == [0, 1, 3, 7, 15]
    # Its timer is late by up to twenty minutes, one night and not the next.
    assert [somebody.end(BACKUP, after=timedelta(hours=23, minutes=40)) != [] for _ in range(3)] == [True] * 3


def test_the_night_s_backup_that_fails_hours_after_one_by_hand_is_told() -> None:
    somebody = OnCall()

    assert [somebody.end(BACKUP), somebody.end(BACKUP, after=timedelta(hours=18))] == [
        ["unit.failed/territoire-backup.service"]
    ] * 2


def test_a_unit_that_succeeded_in_between_is_told_at_once() -> None:
    somebody = OnCall()
    key = "unit.failed/territoire-backup.service"

    assert somebody.end(BACKUP) == [key]
    assert somebody.success() == ([], [key])
    assert somebody.end(BACKUP, after=TWO_MINUTES) == [key]


def test_the_end_of_a_service_is_over_once_it_has_run_for_an_hour() -> None:
    killed = critical(Kind.STACK_STOPPED, "a été tuée", "démarrez-la")
    somebody = OnCall()
    key = "unit.stopped/territoire.service"

    assert somebody.end(STOPPED) == [key]
    assert somebody.examination() == ([], [])
    assert somebody.examination(killed, after=timedelta(hours=2)) == ([], [])
    assert somebody.examination(after=timedelta(hours=1)) == ([], [key])


def test_a_clock_that_jumps_makes_nobody_wait_for_years() -> None:
    somebody = OnCall()
    somebody.now = datetime(2036, 1, 1, tzinfo=UTC)
    somebody.examination(BUS)
    assert somebody.examination(BUS) == (["bus.away"], [])
    assert somebody.end(BACKUP) != []
    somebody.now = NOW  # Chrony has found the network.

    assert somebody.examination(BUS) == ([], [])
    assert somebody.examination(BUS, after=timedelta(hours=23)) == (["bus.away"], [])
    assert somebody.end(BACKUP) != []


AWAY = critical(Kind.DATABASE_AWAY, "ne répond pas", "démarrez-la")
MANY = [
    AWAY,
    BUS,
    BUS_OPEN,
    DISK,
    FULL,
    UNKNOWN,
    silent("A"),
    silent("A", "B"),
    silent("B"),
    unready("x"),
    unready("x", "y"),
]


@given(st.lists(st.lists(st.sampled_from(MANY), max_size=4), max_size=30))
def test_whatever_comes_and_goes_who_is_on_call_knows_what_is_bad(examinations: list[list[Finding]]) -> None:
    """He has read every message and knows nothing else: by sets of pairs, without the code's own memory."""
    somebody = OnCall()
    known: set[str] = set()
    before: set[str] = set()
    for findings in examinations:
        bad_now, good_now = somebody.examination(*findings)
        present = _keys(findings)
        known = (known | set(bad_now)) - set(good_now)

        assert not set(good_now) & present
        assert present & before <= known
        before = present
    for _ in range(4):
        known -= set(somebody.examination(after=timedelta(minutes=45))[1])

    assert known == set()


def _keys(findings: Iterable[Finding]) -> set[str]:
    return {f"{one.kind}/{name}" if name else one.kind for one in findings for name in one.names or [""]}


def test_every_kind_is_about_a_subject_that_has_a_name() -> None:
    assert {subject_of_kind(kind) for kind in Kind} <= set(IN_FRENCH)
    assert set(IN_FRENCH) == set(Subject)


def test_the_letter_says_what_where_and_what_to_do() -> None:
    broker = critical(Kind.BROKER_AWAY, "muet", "démarrez-le")
    letter = News({"d": DISK, "b": BUS, "p/x": unready("x"), "p/y": unready("y")}, {"c": broker})

    assert (
        subject_of("metz", letter)
        == "Territoire (metz) : en panne : bus, processus (x, y) ; à surveiller : disque"
    )
    assert subject_of("metz", News({"d": DISK}, {})) == "Territoire (metz) : à surveiller : disque"
    assert subject_of("metz", News({}, {"d": DISK})) == "Territoire (metz) : rétabli : disque"
    assert text_of(letter) == (
        "EN PANNE : bus : ne répond pas\n  À faire : démarrez-le\n\n"
        "EN PANNE : processus (x, y) : la base ne répond pas\n  À faire : réparez\n\n"
        "À SURVEILLER : disque : 4 Go libres\n  À faire : libérez de la place\n\n"
        "RÉTABLI :\n  courtier MQTT ; c'était : muet\n"
    )


def test_a_name_that_a_tenant_chose_ends_no_line_of_a_letter() -> None:
    letter = News({"k": silent("Mairie\r\nBcc: autre@ailleurs.fr\n\nEN PANNE : tout\x1b[2J")}, {})

    assert len(subject_of("metz", letter).splitlines()) == 1
    assert len(text_of(letter).splitlines()) == 2
    assert "\x1b" not in text_of(letter)
    many = News({"k": silent(*(f"passerelle {number}" for number in range(300)))}, {})
    assert len(subject_of("metz", many)) <= 150
    assert "et 295 autres" in text_of(many)


def test_how_a_service_ended_is_said_in_french() -> None:
    assert how_it_ended("exit-code", "3") == "s'est arrêté : il a fini sur une erreur (statut 3)"
    assert how_it_ended("oom-kill", "KILL").endswith("la mémoire de la machine manquait, le noyau l'a tué")
    assert how_it_ended("unheard-of", "") == "s'est arrêté : unheard-of (?)"


def test_a_finding_of_many_is_one_of_each() -> None:
    assert silent("A", "B").keys == ("gateways.silent/A", "gateways.silent/B")
    assert [one.names for one in silent("A", "B").each()] == [("A",), ("B",)]
    assert (silent("A", "B").title, BUS.title) == ("passerelles (A, B)", "bus")
    assert silent("A").severity is Severity.WARNING


def test_a_backup_that_fails_every_night_for_three_months_is_notified_every_day() -> None:
    on_call = OnCall()

    assert [on_call.end(BACKUP, after=timedelta(days=1)) for _ in range(90)] == [
        ["unit.failed/territoire-backup.service"]
    ] * 90
