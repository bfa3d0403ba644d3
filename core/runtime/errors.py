"""How an error is named in logs and messages, and errors that an operator can mend."""

import errno
import socket

# What the system says of files and addresses, in French.
SYSTEM_REASONS = {
    errno.ENOENT: "n'existe pas",
    errno.EACCES: "accès refusé",
    errno.EPERM: "opération refusée",
    errno.EROFS: "le disque est en lecture seule",
    errno.ENOSPC: "le disque est plein",
    errno.EDQUOT: "le quota du disque est atteint",
    errno.EIO: "le disque ne répond plus (erreur d'entrée-sortie)",
    errno.EISDIR: "c'est un dossier",
    errno.ENOTDIR: "n'est pas un dossier",
    errno.EEXIST: "existe déjà",
    errno.ELOOP: "un lien tourne en rond",
    errno.ENAMETOOLONG: "ce nom est trop long",
    errno.EMFILE: "trop de fichiers ouverts",
    errno.EADDRINUSE: "déjà pris",
    errno.EADDRNOTAVAIL: "adresse qui n'est pas de cette machine",
    socket.EAI_NONAME: "nom inconnu",
}


class OperatorError(Exception):
    """Why a process cannot go on, where an operator can mend it: shown in a line, without a stack trace.

    The message is for engineers; `french` says the same, and what to do, to the operator at the terminal.
    """

    def __init__(self, message: str, french: str) -> None:
        super().__init__(message)
        self.french = french


def describe_defect(error: BaseException) -> str:
    """The error's class and what it says, for errors that were not expected at the place where they came up."""
    return f"{type(error).__name__}: {error}"


def describe(error: BaseException | str) -> str:
    """What the error says, or its class where it says nothing, as time-outs and lost connections do."""
    return str(error) or type(error).__name__


def system_reason(error: OSError) -> str:
    """Why the system refused, in French where it is one of the usual reasons."""
    return SYSTEM_REASONS.get(error.errno or 0) or error.strerror or describe(error)


class TargetFailure(Exception):
    """A place where files are put down takes none; the message says why, in French.

    `is_final`: nor later, before a person has acted.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final
