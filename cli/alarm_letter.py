"""The message to who is on call, in French. Pure."""

from collections.abc import Iterable

from cli.alarm_news import News, gathered
from cli.findings import Finding, Severity, one_line

SUBJECT_MOST = 150
WORDS = {Severity.CRITICAL: "en panne", Severity.WARNING: "à surveiller"}
TEST_SUBJECT = "essai de l'alarme"
TEST_TEXT = (
    "Ceci est un essai, demandé par « territoire alarm --test » : rien n'est en panne, rien n'est à faire.\n"
    "Ce qui ira mal sur ce serveur s'annoncera ici.\n"
)
# How systemd calls an end (SERVICE_RESULT, systemd.exec(5)).
ENDS = {
    "exit-code": "il a fini sur une erreur (statut {status})",
    "signal": "il a été tué (signal {status})",
    "core-dump": "il s'est écrasé (signal {status})",
    "watchdog": "un de ses processus ne répondait plus depuis deux minutes, systemd l'a tué",
    "timeout": "il n'était pas prêt, ou pas arrêté, dans le temps permis",
    "oom-kill": "la mémoire de la machine manquait, le noyau l'a tué",
    "protocol": "il s'est arrêté avant d'être prêt",
    "resources": "systemd n'a pas pu le lancer (mémoire, disque, réglages)",
    "start-limit-hit": "il a été relancé trop souvent",
    "exec-condition": "une condition de l'unité n'est pas remplie",
}


def how_it_ended(result: str, status: str) -> str:
    """What systemd says of the end of a service."""
    how = ENDS.get(result, "{result} ({status})").format(result=result, status=status or "?")
    return f"s'est arrêté : {how}"


def subject_of(host: str, report: News) -> str:
    """One line: what is broken, then what is to be looked at; what is good again where there is nothing bad."""
    bad = _worst_first(report)
    if not bad:
        return headline(host, f"rétabli : {_titles(gathered(report.good.values()))}")
    of_each = ((words, [one for one in bad if one.severity is severity]) for severity, words in WORDS.items())
    return headline(host, " ; ".join(f"{words} : {_titles(these)}" for words, these in of_each if these))


def headline(host: str, text: str) -> str:
    """A subject of a mail: no line may end in it, whatever a gateway is called."""
    line = one_line(f"Territoire ({host}) : {text}")
    return line if len(line) <= SUBJECT_MOST else line[: SUBJECT_MOST - 1] + "…"


def _titles(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.title for finding in findings))


def _worst_first(report: News) -> list[Finding]:
    return sorted(gathered(report.bad.values()), key=lambda finding: -finding.severity)


def text_of(report: News) -> str:
    """The letter."""
    lines: list[str] = []
    for finding in _worst_first(report):
        lines += [
            f"{WORDS[finding.severity].upper()} : {finding.title} : {one_line(finding.what)}",
            f"  À faire : {one_line(finding.remedy)}",
            "",
        ]
    if report.good:
        were = gathered(report.good.values())
        lines += [
            "RÉTABLI :",
            *(f"  {finding.title} ; c'était : {one_line(finding.what)}" for finding in were),
            "",
        ]
    return "\n".join(lines)
