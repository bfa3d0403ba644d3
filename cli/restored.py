"""What every restore ends with, whatever it came from: the right program and key, and nothing that goes back."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import typer

from cli.account import differences
from cli.running import actor, fail, log_nothing
from core.runtime.errors import file_reason
from registry.erasures import Entry, ErasedAgain, UnreadableLedger, read_ledger, trouble_at_end
from registry.ledger_file import LEDGER_NAME
from services.supervisor.credentials import Secrets
from services.supervisor.home import Home, UnusableHome

if TYPE_CHECKING:
    from core.runtime.postgres import Connection
    from registry.keys import KeyWrap

# Key-encryption keys, and whence they are.
Keys: TypeAlias = "tuple[KeyWrap, str]"

# What was sent after the backup is not in it. Devices reject a counter that goes back, and take one that is ahead
# by less than 16,384 (MAX_FCNT_GAP, LoRaWAN 1.0.3); a JoinNonce likewise only rises.
COUNTERS_AHEAD = 4_096
RAISE_SESSIONS = "UPDATE session SET f_cnt_down = f_cnt_down + $1 WHERE closed_at IS NULL"
RAISE_GROUPS = "UPDATE multicast_group SET f_cnt = f_cnt + $1"
RAISE_JOINS = "UPDATE join_nonce SET last_join_nonce = least(last_join_nonce + $1, 16777215)"
# Cursors of readers of the feed name transactions of the database that was.
RENEW_FEED = "SELECT renew_feed()"
INSIST = "--without-ledger restaure sans lui : ce qui a été effacé depuis cette sauvegarde reviendrait"


async def make_good(
    connection: "Connection", url: str, keys: "KeyWrap", entries: Sequence[Entry], what: str
) -> ErasedAgain:
    """Bring a restored database to where it may be started; what was erased again.

    By the superuser, while nothing else is connected: this program's schema, counters beyond what was sent, a feed
    of its own, erasures that came later, a line in the audit. `url` is of whom the schema belongs to.
    """
    from registry.audit import write_audit
    from registry.erasures import erase_again
    from registry.schema import migrate

    log_nothing()  # Of each migration a line, in English.
    await migrate(url)
    async with connection.transaction():
        for statement in (RAISE_SESSIONS, RAISE_GROUPS, RAISE_JOINS):
            await connection.execute(statement, COUNTERS_AHEAD)
        await connection.execute(RENEW_FEED)
    again = await erase_again(connection, keys, entries)
    await write_audit(
        connection, None, actor(), "restore", "backup", what, {"after": {"erased_again": again.done}}
    )
    await connection.execute("ANALYZE")
    return again


def require_new(place: Home) -> None:
    """End the command where something is in this home that no restore has left."""
    try:
        place.require_new()
    except UnusableHome as refused:
        raise fail(str(refused), 2) from None


def require_program(schema: int) -> None:
    """End the command where a newer program made the backup."""
    from registry.schema import migrations

    known = len(migrations())
    if schema > known:
        raise fail(
            f"cette sauvegarde est d'un programme plus récent (schéma {schema}, celui-ci connaît {known}) : rien "
            "n'est restauré. Installez la version du programme qui l'a faite",
            2,
        )


def key_wrap(kept: Secrets) -> "KeyWrap":
    """The key-encryption keys of these secrets."""
    from registry.keys import KeyWrap

    former = {kek_id: bytes.fromhex(kek) for kek_id, kek in kept.former_keks.items()}
    return KeyWrap(kept.kek_id, bytes.fromhex(kept.kek), former)


def _sample(written: str) -> tuple[bytes, str]:
    """A sealed value of an account and its owner; a manifest of before names none."""
    octets, _, owner = written.partition(" ")
    return bytes.fromhex(octets), owner


def require_key(
    sealed: Mapping[str, Sequence[str]], kek_ids: Sequence[str], known: Keys, without_keys: bool
) -> None:
    """Reject a backup whose wrapped keys none of these opens, unless `without_keys`."""
    keys, whence = known
    closed = {
        kek_id: sum(not keys.opens(*_sample(sample)) for sample in samples) for kek_id, samples in sealed.items()
    }
    unknown = [kek_id for kek_id in kek_ids if kek_id not in sealed]
    if unknown:
        typer.echo(
            f"  ! cette sauvegarde ne dit pas si la clé de {whence} ouvre {', '.join(unknown)} : après le "
            "démarrage, ./territoire doctor le dira"
        )
    if not any(closed.values()):
        return
    names = ", ".join(kek_id for kek_id, count in closed.items() if count)
    opens_some = any(count < len(sealed[kek_id]) for kek_id, count in closed.items())
    if not opens_some and not without_keys:
        raise fail(
            f"la clé de {whence} n'ouvre aucune clé d'équipement de cette sauvegarde ({names}) : rien n'est "
            "restauré. Donnez le secrets.json de l'installation sauvegardée (il se garde à part des sauvegardes). "
            "S'il est perdu, --without-keys restaure les mesures ; chaque équipement sera à réinscrire",
            2,
        )
    typer.echo(f"  ! la clé de {whence} n'ouvre pas tout ce qui est sous {names} : ces équipements seront muets")


def read_entries(place: Path) -> list[Entry]:
    """The lines of the ledger; ends the command where it is missing or is none."""
    if not place.exists():
        raise fail(
            f"{place} n'existe pas : le registre des effacements se garde avec les sauvegardes, et se donne par "
            f"--ledger. {INSIST}",
            2,
        )
    try:
        entries = list(read_ledger(place))
        say_trouble_at_end(place)
    except (OSError, UnreadableLedger) as wrong:
        raise fail(f"{place} ne se lit pas ({file_reason(wrong)}). {INSIST}", 2) from None
    return entries


def say_trouble_at_end(ledger: Path) -> None:
    """That its last line is cut off, or lacks its end."""
    if (trouble := trouble_at_end(ledger)) is not None:
        typer.echo(f"  ! {trouble}")


def require_complete(entries: Sequence[Entry], known: int | None, place: Path) -> None:
    """End the command where the backup knows of more erasures than its ledger."""
    if len(entries) < (known or 0):
        raise fail(
            f"{place} a {len(entries)} effacements, cette sauvegarde en connaît {known} : ce registre n'est pas "
            f"complet, cherchez le bon. {INSIST}",
            2,
        )


def entries_beside(file: Path, known: int | None, ledger: Path | None, without: bool) -> list[Entry]:
    """The lines of the ledger of a backup; ends the command where it is missing, or older than the backup."""
    if without:
        say_without_ledger()
        return []
    place = ledger or file.with_name(LEDGER_NAME)
    if not place.exists() and ledger is None and known is None:
        typer.echo(
            f"  ! {place} n'existe pas : si des personnes ou des logements ont été effacés depuis cette "
            "sauvegarde, ils reviennent. Le registre se donne par --ledger"
        )
        return []
    found = read_entries(place)
    require_complete(found, known, place)
    return found


def require_counts(expected: Mapping[str, int], found: Mapping[str, int]) -> None:
    """End the command where something was not restored."""
    wrong = differences(expected, found)
    for line in wrong:
        typer.echo(f"  ✗ {line}")
    if wrong:
        raise fail("la restauration n'est pas complète : ne démarrez pas dessus", 1)


def say_without_ledger() -> None:
    """That somebody insisted."""
    typer.echo("  ! sans registre des effacements : ce qui a été effacé depuis cette sauvegarde revient")


def say_restored(where: object, counts: Mapping[str, int], *, compared: bool = True) -> None:
    """That all of it is there."""
    same = "tous les comptes sont ceux de la sauvegarde" if compared else "sans comptes à comparer"
    typer.echo(
        f"Restauré dans {where} : {counts['measurements']} mesures, {counts['uplinks']} trames, "
        f"{counts['devices']} équipements, {same}."
    )


def say_erased(entries: Sequence[Entry], again: ErasedAgain) -> None:
    """What of the ledger was done, and of which lines of before it is not known whether they were opened."""
    if entries:
        lines = "1 ligne" if len(entries) == 1 else f"{len(entries)} lignes"
        done = "1 effacement fait" if again.done == 1 else f"{again.done} effacements faits"
        typer.echo(f"Registre des effacements : {lines}, {done} à nouveau.")
    if again.unproved:
        lines = (
            "1 ligne du registre ne dit"
            if again.unproved == 1
            else f"{again.unproved} lignes du registre ne disent"
        )
        typer.echo(
            f"  ! {lines} pas sa clé (avant cette version) : si la clé de chiffrement a été changée depuis cette "
            "sauvegarde, ne démarrez que si vous avez donné le secrets.json d'aujourd'hui"
        )


def say_how_to_start(home: Path, entries: Sequence[Entry], again: ErasedAgain) -> None:
    """The last lines of a restore."""
    say_erased(entries, again)
    typer.echo(
        f"Les compteurs descendants ont été avancés de {COUNTERS_AHEAD}. Démarrez : ./territoire up --home "
        f"{shlex.quote(str(home))}"
    )
