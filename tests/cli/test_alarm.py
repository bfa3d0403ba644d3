"""`territoire alarm` against real mail servers and real addresses that take a POST."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import alarm as command
from cli import doctor
from cli.app import app
from cli.finding_kinds import Kind
from cli.findings import Finding, critical, warning
from cli.install import write_files
from cli.installed import installed
from services.supervisor.ports import free_tcp_port
from tests.cli.on_call import Chat, Letters, alarm, said, started

BUS = critical(Kind.BUS_AWAY, "ne répond pas", "démarrez-le")
BACKUP = "territoire-backup.service"


def test_who_is_on_call_is_told_what_turned_bad_and_what_is_good_again(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    examined.append(BUS)
    statuses = [alarm(tmp_path), alarm(tmp_path), alarm(tmp_path)]
    examined.clear()
    statuses.append(alarm(tmp_path))

    assert statuses == [0, 0, 0, 0]
    assert letters.headlines() == letters.headlines("chef@mairie.fr") == ["en panne : bus", "rétabli : bus"]


def test_what_nobody_took_is_told_with_the_next_examination(
    tmp_path: Path, examined: list[Finding], letters: Letters
) -> None:
    examined.append(BUS)
    server = f"smtp://127.0.0.1:{free_tcp_port()}"
    alarm(tmp_path)

    assert [alarm(tmp_path, TERRITOIRE_SMTP_URL=server) for _ in range(5)] == [1] * 5
    assert "rien n'écoute à cette adresse" in said(tmp_path, TERRITOIRE_SMTP_URL=server)
    assert letters.subjects == []
    assert alarm(tmp_path) == 0
    assert len(letters.subjects) == 2


def test_a_unit_that_failed_and_a_service_that_stopped_are_told_at_once(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    alarm(tmp_path, "--failed", BACKUP)
    alarm(tmp_path, "--stopped", SERVICE_RESULT="success")
    for _ in range(5):
        alarm(tmp_path, "--stopped", SERVICE_RESULT="watchdog", EXIT_STATUS="6")
    alarm(tmp_path)  # Nothing says that the backup is good again.

    assert letters.headlines() == [
        f"en panne : service systemd ({BACKUP})",
        "en panne : service systemd (territoire.service)",
    ]
    assert "un de ses processus ne répondait plus depuis deux minutes" in letters.texts[-1]


def test_a_backup_that_succeeded_and_fails_again_is_told_each_time(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    alarm(tmp_path, "--failed", BACKUP)
    alarm(tmp_path, "--succeeded", BACKUP)
    alarm(tmp_path, "--succeeded", BACKUP)
    alarm(tmp_path, "--failed", BACKUP)

    assert [one.partition(" : ")[0] for one in letters.headlines()] == ["en panne", "rétabli", "en panne"]


def test_the_night_s_backup_that_fails_after_one_by_hand_is_told(
    tmp_path: Path, letters: Letters, examined: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm(tmp_path, "--failed", BACKUP)
    at_night = datetime.now(UTC) + timedelta(hours=18)
    monkeypatch.setattr("cli.alarm_delivery.utc_now", lambda: at_night)

    alarm(tmp_path, "--failed", BACKUP)

    assert len(letters.headlines()) == 2


def test_a_backup_that_failed_while_no_mail_went_out_is_told_with_the_next_examination(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    nobody = f"smtp://127.0.0.1:{free_tcp_port()}"

    assert alarm(tmp_path, "--failed", BACKUP, TERRITOIRE_SMTP_URL=nobody) == 1
    assert letters.subjects == []
    assert [alarm(tmp_path), alarm(tmp_path)] == [0, 0]
    assert letters.headlines() == letters.headlines("chef@mairie.fr") == [f"en panne : service systemd ({BACKUP})"]


def test_who_cannot_be_reached_has_nobody_else_told_again(
    tmp_path: Path, letters: Letters, examined: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    letters.unknown.add("chef@mairie.fr")
    examined.append(BUS)

    assert [alarm(tmp_path), alarm(tmp_path), alarm(tmp_path), alarm(tmp_path)] == [0, 1, 1, 1]
    assert "chef@mairie.fr : refusé (550 no such mailbox)" in said(tmp_path)
    assert [one.partition(":")[0] for one in letters.subjects] == ["astreinte@mairie.fr"]
    assert letters.refused == 2  # And not with every examination.
    letters.unknown.clear()
    later = datetime.now(UTC) + timedelta(minutes=15)
    monkeypatch.setattr("cli.alarm_delivery.utc_now", lambda: later)
    assert alarm(tmp_path) == 0
    assert letters.headlines("chef@mairie.fr") == ["en panne : bus"]


def test_who_is_on_call_from_today_is_told_what_is_bad_since_yesterday(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    examined.append(BUS)
    for _ in range(2):
        alarm(tmp_path, TERRITOIRE_ALARM_MAIL="astreinte@mairie.fr")
    alarm(tmp_path)

    assert letters.headlines("chef@mairie.fr") == letters.headlines() == ["en panne : bus"]


def test_a_unit_that_fails_during_an_examination_is_not_forgotten(
    tmp_path: Path, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def examine(*_: object) -> list[Finding]:
        await asyncio.to_thread(alarm, tmp_path, "--failed", BACKUP)
        return []

    monkeypatch.setattr(doctor, "examine", examine)

    assert alarm(tmp_path) == 0
    alarm(tmp_path, "--failed", BACKUP)
    assert len(letters.headlines()) == 1


@pytest.mark.starts_processes
def test_units_that_fail_at_the_same_time_are_each_told_once(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    units = [f"territoire-{name}.service" for name in ("backup", "pitr", "drill")]
    runs = [started(tmp_path, "--failed", unit) for unit in units]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    alarm(tmp_path)

    assert sorted(letters.headlines()) == sorted(f"en panne : service systemd ({unit})" for unit in units)


def test_a_chat_takes_the_text(tmp_path: Path, chat: Chat, examined: list[Finding]) -> None:
    told = said(tmp_path, "--test", TERRITOIRE_ALARM_URL=chat.url)
    assert "Message d'essai parti : TERRITOIRE_ALARM_URL." in told
    assert "Ceci est un essai" in str(chat.bodies[0]["text"])
    examined.append(BUS)
    for _ in range(2):
        alarm(tmp_path, TERRITOIRE_ALARM_URL=chat.url)
    [found] = chat.bodies[1]["bad"]
    assert (found["subject"], found["kind"], found["severity"]) == ("bus", "bus.away", 2)


def test_a_mail_server_that_says_nothing_keeps_no_chat_waiting(
    tmp_path: Path, chat: Chat, hanging_port: int, examined: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SENT_WITHIN_S", 2.0)
    examined.append(BUS)
    settings = {
        "TERRITOIRE_SMTP_URL": f"smtp://127.0.0.1:{hanging_port}",
        "TERRITOIRE_ALARM_MAIL": ",".join(f"a{number}@mairie.fr" for number in range(6)),
        "TERRITOIRE_ALARM_URL": chat.url,
    }
    alarm(tmp_path, **settings)
    began = time.monotonic()
    told = said(tmp_path, **settings)

    assert time.monotonic() - began < 10.0  # And not six times two seconds, then the chat.
    assert "a0@mairie.fr : pas de réponse ; a1@mairie.fr : pas" in told
    assert len(chat.bodies) == 1


def test_everything_that_a_run_waits_for_is_over_before_systemd_ends_it() -> None:
    waits = command.EXAMINED_WITHIN_S + command.ALONE_WITHIN_S + command.SENT_WITHIN_S

    assert waits <= 100
    for unit in ("alarm", "failed@", "succeeded@"):
        text = Path(f"deploy/systemd/territoire-{unit}.service").read_text("utf-8")
        assert "TimeoutStartSec=2min\n" in text


@pytest.mark.starts_processes
def test_what_was_reached_is_remembered_even_by_a_run_that_was_killed(
    tmp_path: Path, chat: Chat, hanging_port: int, examined: list[Finding]
) -> None:
    examined.append(BUS)
    alarm(tmp_path, TERRITOIRE_ALARM_URL=chat.url)
    with started(
        tmp_path,
        TERRITOIRE_SMTP_URL=f"smtp://127.0.0.1:{hanging_port}",
        TERRITOIRE_ALARM_MAIL="astreinte@mairie.fr",
        TERRITOIRE_ALARM_URL=chat.url,
    ) as run:
        _wait(60, lambda: bool(chat.bodies))
        # Long before the mail server is given up.
        _wait(
            command.SENT_WITHIN_S / 3, lambda: b'"notified":{"bus.away"' in (tmp_path / "alarm.json").read_bytes()
        )
        run.send_signal(signal.SIGKILL)
    alarm(tmp_path, TERRITOIRE_ALARM_URL=chat.url)

    assert len(chat.bodies) == 1


def _wait(within_s: float, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_chat_that_answers_too_late_is_not_told_the_same_every_two_minutes(
    tmp_path: Path, examined: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SENT_WITHIN_S", 0.5)
    chat = Chat(slowly_s=2.0)
    examined.append(BUS)
    try:
        statuses = [alarm(tmp_path, TERRITOIRE_ALARM_URL=chat.url) for _ in range(10)]
        examined.append(warning(Kind.DISK_SCARCE, "4 Go libres", "libérez de la place"))
        statuses += [alarm(tmp_path, TERRITOIRE_ALARM_URL=chat.url) for _ in range(2)]
    finally:
        chat.close()

    assert statuses == [0] + [1] * 11
    about = [("bus" in str(one), "disque" in str(one)) for one in chat.bodies]
    assert about == [(True, False), (True, False), (True, True)]


def test_a_chat_whose_answer_never_ends_was_reached(tmp_path: Path, examined: list[Finding]) -> None:
    chat = Chat(drips=True)
    examined.append(BUS)
    try:
        statuses = [alarm(tmp_path, TERRITOIRE_ALARM_URL=chat.url) for _ in range(3)]
    finally:
        chat.close()

    assert (statuses, len(chat.bodies)) == ([0, 0, 0], 1)


def test_a_service_that_starts_again_does_not_wait_for_a_mail_server(
    tmp_path: Path, hanging_port: int, examined: list[Finding]
) -> None:
    mail = {
        "TERRITOIRE_SMTP_URL": f"smtp://127.0.0.1:{hanging_port}",
        "TERRITOIRE_ALARM_MAIL": "astreinte@mairie.fr",
    }
    began = time.monotonic()

    assert alarm(tmp_path, "--stopped", SERVICE_RESULT="signal", EXIT_STATUS="KILL", **mail) == 1
    assert time.monotonic() - began < 2 * command.SENT_ON_STOP_WITHIN_S


def test_whom_to_tell_must_be_said_before_it_is_tried(tmp_path: Path, examined: list[Finding]) -> None:
    assert alarm(tmp_path, "--test", TERRITOIRE_ALARM_MAIL="astreinte@mairie.fr") == 2
    assert alarm(tmp_path) == 0


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The territoire.env of a server that `install` made."""
    names = ("CHECKOUT", "PYTHON", "USER", "BACKUPS", "KEPT")
    write_files(tmp_path, {**dict.fromkeys(names, "/x"), "HOME": str(tmp_path / "home")})
    monkeypatch.setattr("cli.installed.ROOT", tmp_path)
    monkeypatch.setattr("cli.installed.installed", lambda: installed(tmp_path))
    (tmp_path / "home").mkdir()
    return tmp_path / "etc/territoire/territoire.env"


def test_the_command_that_doctor_names_reads_what_the_operator_wrote(
    chat: Chat, settings: Path, examined: list[Finding]
) -> None:
    with settings.open("a", encoding="utf-8") as file:
        file.write(f"TERRITOIRE_ALARM_URL={chat.url}\n")

    done = CliRunner().invoke(app, ["alarm", "--test"])

    assert (done.exit_code, len(chat.bodies)) == (0, 1), done.output


def test_who_may_not_read_territoire_env_is_told_to_use_sudo(
    settings: Path, examined: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.installed.Installed.is_readable", False)

    done = CliRunner().invoke(app, ["alarm", "--test"])

    assert done.exit_code == 2
    assert "n'est lisible que par root : sudo ./territoire alarm --test" in done.output


def test_an_address_with_a_comment_behind_it_is_refused_and_the_others_are_told(
    letters: Letters, settings: Path, examined: list[Finding]
) -> None:
    with settings.open("a", encoding="utf-8") as file:
        file.write("TERRITOIRE_ALARM_URL=https://chat.mairie.fr/hooks/1   # ou, en plus, une messagerie\n")

    tried = CliRunner().invoke(app, ["alarm", "--test"])
    examined.append(BUS)
    statuses = [CliRunner().invoke(app, ["alarm"]).exit_code for _ in range(2)]

    assert (tried.exit_code, statuses) == (1, [1, 1])
    assert "réglage faux : TERRITOIRE_ALARM_URL" in tried.output
    assert letters.headlines() == ["essai de l'alarme", "en panne : bus"]


def test_a_wrong_address_in_the_environment_of_the_unit_keeps_nobody_from_being_told(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    examined.append(BUS)
    wrong = {"TERRITOIRE_ALARM_URL": "https://chat.mairie.fr/hooks/1   # en plus"}

    assert [alarm(tmp_path, **wrong), alarm(tmp_path, **wrong)] == [1, 1]
    assert letters.headlines() == ["en panne : bus"]
    assert "réglage faux : TERRITOIRE_ALARM_URL" in said(tmp_path, "--test", **wrong)


def test_an_examination_that_fails_or_never_ends_is_told(
    tmp_path: Path, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "EXAMINED_WITHIN_S", 2.0)

    async def fails(*_: object) -> list[Finding]:
        raise OSError(5, "Input/output error")

    async def hangs(*_: object) -> list[Finding]:
        await asyncio.sleep(30)
        return []

    monkeypatch.setattr(doctor, "examine", fails)
    alarm(tmp_path)
    monkeypatch.setattr(doctor, "examine", hangs)
    alarm(tmp_path)

    assert letters.headlines() == ["en panne : examen"]
    assert "rien en 2 s (un disque qui ne répond plus" in letters.texts[0]


def test_what_a_release_of_before_remembered_is_read(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    def known(subject: str, *, was_notified: bool) -> dict[str, object]:
        finding = {"subject": subject, "severity": 2, "what": "mal", "remedy": "réparez"}
        return {"finding": finding, "notified_at": "2026-11-28T03:00:00Z" if was_notified else None}

    before = {
        "known": {name: known(name, was_notified=True) for name in ("bus", "processus network", "disque")},
        "sudden": {
            BACKUP: known(BACKUP, was_notified=False),
            "territoire.service": known("territoire.service", was_notified=True),
        },
    }
    (tmp_path / "alarm.json").write_text(json.dumps(before), "utf-8")
    examined.append(BUS)
    alarm(tmp_path)
    alarm(tmp_path)

    text = letters.texts[0]
    assert f"EN PANNE : service systemd ({BACKUP}) : mal" in text
    assert ("disque ; c'était : mal" in text, "processus network ; c'était : mal" in text) == (True, True)
    assert "bus" not in text
    assert letters.headlines()[1:] == ["en panne : bus"]


def test_what_a_release_of_before_remembered_by_names_is_not_told_again(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    """It remembers two gateways and a tenant, by names; one gateway has come back meanwhile, another has gone."""

    def now_by_ids() -> list[Finding]:
        return [
            warning(
                Kind.GATEWAYS_SILENT,
                "plus rien",
                "regardez",
                {"0a": "Mairie (0a)", "0b": "Mairie (0b)", "0d": "Gymnase"},
            ),
            warning(
                Kind.ALERTS_UNREACHED, "1 alerte n'a prévenu personne", "ajoutez une adresse", {"metz": "Metz"}
            ),
        ]

    examined += [
        warning(Kind.GATEWAYS_SILENT, "plus rien", "regardez", ["Mairie", "École"]),
        warning(Kind.ALERTS_UNREACHED, "1 alerte n'a prévenu personne", "ajoutez une adresse", ["Metz"]),
    ]
    alarm(tmp_path)
    alarm(tmp_path)
    file = tmp_path / "alarm.json"
    file.write_text(file.read_text("utf-8").replace(',"ids":[]', ""), "utf-8")  # As that release wrote it.
    assert "ids" not in file.read_text("utf-8")
    examined.clear()
    examined += now_by_ids()
    alarm(tmp_path)
    alarm(tmp_path)
    examined.clear()
    for _ in range(2):
        alarm(tmp_path)

    assert letters.headlines() == [
        "à surveiller : passerelles (Mairie, École), alertes (Metz)",
        "rétabli : passerelles (École)",
        "à surveiller : passerelles (Mairie (0b), Gymnase)",
        "rétabli : passerelles (Mairie (0a), Mairie (0b), Gymnase), alertes (Metz)",
    ]


def test_what_a_newer_release_remembered_is_read(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    """Who goes back a release has kinds remembered that this one does not know."""
    examined.append(BUS)
    alarm(tmp_path)
    alarm(tmp_path)
    file = tmp_path / "alarm.json"
    file.write_text(file.read_text("utf-8").replace("bus.away", "tide.high").replace('"turn"', '"new":1,"turn"'))
    examined.clear()

    assert alarm(tmp_path) == 0
    assert letters.headlines() == ["en panne : bus", "rétabli : bus"]


def test_what_cannot_be_read_is_told_again(tmp_path: Path, letters: Letters, examined: list[Finding]) -> None:
    (tmp_path / "alarm.json").write_bytes(b"")
    examined.append(BUS)
    alarm(tmp_path)
    alarm(tmp_path)

    assert letters.headlines() == ["en panne : bus"]


def test_an_address_in_another_alphabet_keeps_nobody_from_being_told(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    examined.append(critical(Kind.BUS_AWAY, "« Hôtel de ville » : 50 % 🚨", "démarrez-le à l'arrêt"))
    whom = "été@mairie.fr, astreinte@métropole.fr, astreinte@mairie.fr"
    for _ in range(2):
        alarm(tmp_path, TERRITOIRE_ALARM_MAIL=whom)

    assert letters.headlines() == ["en panne : bus"]
    assert "« Hôtel de ville » : 50 % 🚨" in letters.texts[-1]
