"""Where an installation's key-encryption keys come from: the environment, a file, or what a command prints."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

KEK_OCTETS = (16, 24, 32)
# A vault that does not answer keeps a service from starting for so long, and no longer.
COMMAND_S = 30.0
KEK_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class FormerFormat:
    """Whether values that name no owner (RFC 3394) still open; one for all that a process opens."""

    is_rejected: bool = False


@dataclass(frozen=True, slots=True)
class Keks:
    """The key-encryption key that seals, and those that only open, by their ids."""

    kek_id: str
    current: bytes = field(repr=False)
    former: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    former_format: FormerFormat = field(default_factory=FormerFormat, compare=False)


def octets_of(digits: str) -> bytes:
    """A key-encryption key from its hexadecimal digits.

    Raises:
        ValueError: they are no 16, 24 or 32 octets.
    """
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        octets = b""
    if len(octets) not in KEK_OCTETS:
        raise ValueError("une clé a 32, 48 ou 64 chiffres hexadécimaux")
    return octets


def parse_keks(text: str, kek_id: str) -> dict[str, bytes]:
    """Keys by id from `id=digits`, separated by commas or line ends; digits alone are the key `kek_id`.

    Raises:
        ValueError: one is no key, or two have one id; the message never has a key.
    """
    found: dict[str, bytes] = {}
    for entry in filter(None, map(str.strip, re.split(r"[,\n]", text))):
        name, separator, digits = entry.rpartition("=")
        name = name.strip() if separator else kek_id
        if not KEK_ID.fullmatch(name):
            raise ValueError("le nom d'une clé a des lettres, des chiffres, « . », « _ » et « - », 64 au plus")
        if name in found:
            raise ValueError(f"la clé {name} est donnée deux fois")
        found[name] = octets_of(digits.strip())
    return found


def read_keks(kek_id: str, *, kek: str | None, former: str | None, file: Path | None, command: str | None) -> Keks:
    """The keys of the one source that is given, and `former` beside them.

    Raises:
        ValueError: not exactly one source is given, or it gives no key of this id; in French, without any key.
    """
    if sum(source is not None for source in (kek, file, command)) != 1:
        raise ValueError("donnez une seule de TERRITOIRE_KEK, TERRITOIRE_KEK_FILE, TERRITOIRE_KEK_COMMAND")
    if kek is not None:
        text, source = kek, "TERRITOIRE_KEK"
    elif file is not None:
        text, source = _read(file), f"TERRITOIRE_KEK_FILE ({file})"
    else:
        text, source = _run(command or ""), "TERRITOIRE_KEK_COMMAND"
    try:
        known = parse_keks(text, kek_id)
    except ValueError as wrong:
        raise ValueError(f"{source} : {wrong}") from None
    if kek_id not in known:
        raise ValueError(f"{source} ne donne pas la clé {kek_id}, que TERRITOIRE_KEK_ID nomme")
    try:
        others = parse_keks(former or "", "")
    except ValueError as wrong:
        raise ValueError(f"TERRITOIRE_KEK_FORMER : {wrong} (id=clé, séparées par des virgules)") from None
    current = known.pop(kek_id)
    return Keks(kek_id, current, {**others, **known})


def check_command(command: str) -> str:
    """The command itself.

    Raises:
        ValueError: its first word names no program that can be run here.
    """
    words = shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        raise ValueError("no such program")
    return command


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ValueError(f"TERRITOIRE_KEK_FILE : {file} ne se lit pas ({type(unreadable).__name__})") from None


def _run(command: str) -> str:
    """What the command prints. It runs without a shell; of its failure the last line on stderr is shown."""
    try:
        words = shlex.split(command)
        done = subprocess.run(words, capture_output=True, check=False, timeout=COMMAND_S, text=True)
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as failed:
        raise ValueError(f"TERRITOIRE_KEK_COMMAND : la commande échoue ({type(failed).__name__})") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["sans message"]
        raise ValueError(f"TERRITOIRE_KEK_COMMAND : la commande finit par {done.returncode} ({said[0][:200]})")
    return done.stdout
