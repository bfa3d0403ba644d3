"""Backups as age files: made for public keys that are named, read with a private key that is not on this machine.

A file is encrypted, and decrypted, as it is written, in pieces: a backup is larger than memory.
"""

from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.runtime.errors import file_reason

if TYPE_CHECKING:
    from pyrage.x25519 import Identity  # pyright: ignore[reportMissingModuleSource]

AGE = b"age-encryption.org/v1"
NAMED_BY = "TERRITOIRE_BACKUP_RECIPIENTS"


class WrongKey(Exception):
    """What is given is no key, or opens nothing; the message, in French, says which."""


def is_encrypted(file: Path) -> bool:
    """Whether this is an age file, whatever it is called."""
    with file.open("rb") as opened:
        return opened.read(len(AGE)) == AGE


def check_recipients(text: str) -> list[str]:
    """Public keys, with commas or spaces between them.

    Raises:
        WrongKey: one is none.
    """
    from registry.key_recipients import RejectedPublicKey, check_public_key

    found: list[str] = []
    for one in text.replace(",", " ").split():
        try:
            found.append(check_public_key(one))
        except RejectedPublicKey:
            if one.upper().startswith("AGE-SECRET-KEY"):
                raise WrongKey("c'est une clé privée : elle ne doit pas être sur cette machine") from None
            raise WrongKey(f"« {one[:80]} » n'est pas une clé publique age (age1…, de age-keygen)") from None
    return found


def encrypt(source: BufferedIOBase, target: BufferedIOBase, recipients: list[str]) -> None:
    """All of the source, for these public keys."""
    import pyrage

    pyrage.encrypt_io(source, target, [pyrage.x25519.Recipient.from_str(one) for one in recipients])


def read_identities(file: Path) -> "list[Identity]":
    """The private keys in a file of age-keygen.

    Raises:
        WrongKey: there is none.
    """
    import pyrage

    try:
        lines = file.read_text("utf-8").split()
        found = [pyrage.x25519.Identity.from_str(one) for one in lines if one.startswith("AGE-SECRET-KEY-")]
    except (OSError, UnicodeDecodeError) as wrong:
        raise WrongKey(f"{file} : {file_reason(wrong)}") from None
    except pyrage.IdentityError:
        raise WrongKey(f"{file} : une clé privée age y est incomplète ou abîmée") from None
    if not found:
        raise WrongKey(f"{file} n'a pas de clé privée age (AGE-SECRET-KEY-1…)")
    return found


class _Opens(Exception):
    """The first piece came out."""


class _FirstPiece:
    def write(self, _piece: bytes) -> int:
        raise _Opens

    def flush(self) -> None:
        """Nothing is kept."""


def check_identities(file: Path, identities: "list[Identity]") -> None:
    """Whether one of them opens this backup, before anything is made of it.

    Raises:
        WrongKey: none does, or it was damaged.
    """
    import pyrage

    first: Any = _FirstPiece()
    try:
        with file.open("rb") as source:
            pyrage.decrypt_io(source, first, identities)
    except _Opens:
        return
    except pyrage.DecryptError as wrong:
        raise WrongKey(f"cette clé privée n'ouvre pas {file.name} ({wrong}) : rien n'est restauré") from None


def decrypt(file: Path, target: BufferedIOBase, identities: "list[Identity]") -> None:
    """All of the file.

    Raises:
        WrongKey: it was damaged.
        BrokenPipeError: who reads has ended.
    """
    import pyrage

    try:
        with file.open("rb") as source:
            pyrage.decrypt_io(source, target, identities)
    except pyrage.DecryptError as wrong:
        raise WrongKey(f"{file.name} est abîmé : {wrong}") from None


def write_plain(file: Path, target: BufferedIOBase) -> None:
    """A backup that was made in the clear."""
    with file.open("rb") as source:
        while piece := source.read(1 << 20):
            target.write(piece)
