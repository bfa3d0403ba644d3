"""How an error is named in logs and messages, and errors that an operator can mend."""

import errno
import json
import os
import re
import socket

CUT, NO_WAY = "la connexion est coupée", "aucun chemin réseau vers cette machine"
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
    errno.ENFILE: "trop de fichiers ouverts sur cette machine",
    errno.ENOTEMPTY: "n'est pas vide",
    errno.EBUSY: "occupé par un autre programme",
    errno.ETXTBSY: "occupé par un autre programme",
    errno.EAGAIN: "occupé, à réessayer",
    errno.EFBIG: "trop grand pour ce disque",
    errno.EXDEV: "est sur un autre disque",
    errno.ESTALE: "le partage réseau a changé : remontez-le",
    errno.ENOMEM: "la mémoire manque",
    errno.ENOEXEC: "n'est pas un programme de cette machine",
    errno.EINVAL: "valeur que le système n'accepte pas",
    errno.EADDRINUSE: "déjà pris",
    errno.EADDRNOTAVAIL: "adresse qui n'est pas de cette machine",
    errno.ECONNREFUSED: "rien n'écoute à cette adresse",
    errno.ECONNRESET: CUT,
    errno.ECONNABORTED: CUT,
    errno.EPIPE: CUT,
    errno.ETIMEDOUT: "pas de réponse",
    errno.ENETUNREACH: NO_WAY,
    errno.EHOSTUNREACH: NO_WAY,
    errno.ENETDOWN: NO_WAY,
    errno.EHOSTDOWN: NO_WAY,
    socket.EAI_NONAME: "nom inconnu",
    socket.EAI_AGAIN: "le serveur de noms ne répond pas",
}
# As programs in C say it; negative ones are of names, whose words differ from library to library.
SYSTEM_WORDS = {os.strerror(code): french for code, french in SYSTEM_REASONS.items() if code > 0}
# What PostgreSQL says, by SQLSTATE or its class (appendix A of its manual): its words are in any language.
SQL_REASONS = {
    "08": CUT,
    "22": "une valeur n'est pas de la forme attendue",
    "23": "une règle de la base refuse une valeur",
    "25006": "le serveur n'accepte que des lectures (une copie ?)",
    "25P03": "la transaction est restée ouverte trop longtemps",
    "28000": "ce compte n'entre pas : il n'existe pas, ou pg_hba.conf ne l'admet pas d'ici",
    "28P01": "le mot de passe de ce compte est refusé",
    "3D000": "le serveur répond, mais cette base n'y existe pas",
    "3F000": "un schéma manque",
    "40": "une autre session modifie la même chose",
    "42501": "ce compte n'en a pas le droit",
    "42703": "une colonne manque",
    "42883": "une fonction manque",
    "42P01": "une table manque",
    "53": "les ressources du serveur ne suffisent pas",
    "53100": "le disque du serveur est plein",
    "53200": "la mémoire du serveur ne suffit pas",
    "53300": "le serveur n'a plus de connexion libre (max_connections)",
    "55P03": "une autre session tient ce qu'il faut modifier",
    "57": "le serveur a mis fin à la session",
    "57014": "interrompue : elle durait trop, ou un administrateur l'a arrêtée",
    "57P01": "le serveur s'arrête",
    "57P02": "le serveur redémarre après un plantage",
    "57P03": "le serveur démarre ou s'arrête",
    "58": "le disque du serveur ne répond plus (erreur d'entrée-sortie)",
    "XX001": "un fichier de la base est abîmé",
    "XX002": "un index de la base est abîmé",
}
# What is not there in a database that is none of ours, or an older one.
NOT_OUR_SCHEMA = {"3F000", "42P01", "42703", "42883"}
# Those that the server's operator can do something about; other classes are of what was asked.
OF_THE_SERVER = {"08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX"}
SQL_NAMED = {"table_name": "table", "column_name": "colonne", "constraint_name": "règle"}


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


def located_reason(error: OSError) -> str:
    """Why the system refused, and of which file where it names one."""
    return system_reason(error) if error.filename is None else f"{error.filename} : {system_reason(error)}"


def file_reason(error: Exception) -> str:
    """Why a file is not read, in French: the system's reason, or what it is not."""
    match error:
        case OSError():
            return system_reason(error)
        case UnicodeDecodeError():
            return f"n'est pas du texte UTF-8 (octet {error.start})"
        case json.JSONDecodeError():
            return f"n'est pas du JSON (ligne {error.lineno}, colonne {error.colno})"
        case _:
            return describe(error)


def sql_reason(error: Exception) -> str:
    """Why PostgreSQL refused, in French by its code, and what it refused where it names it in a field.

    What is rare is in the server's words, quoted.
    """
    code = str(getattr(error, "sqlstate", None) or "")
    known = SQL_REASONS.get(code) or SQL_REASONS.get(code[:2])
    if known is None:
        return f"PostgreSQL refuse (SQLSTATE {code}) : « {describe(error)} »"
    named = [f"{french} {name}" for field, french in SQL_NAMED.items() if (name := getattr(error, field, None))]
    return f"{known} ({', '.join(named)})" if named else known


def system_words(said: str) -> str | None:
    """The system's reason among the last words of another program, in French; None: there is none.

    Its locale is C, as all of ours give it.
    """
    for line in reversed(said.splitlines()):
        for english, french in SYSTEM_WORDS.items():
            if english in line:
                path = re.search(r"""["'](/[^"']+)["']""", line)
                return f"{path[1]} : {french}" if path else french
    return None


def program_reason(said: str) -> str:
    """Why another program has ended: the system's reason in French where it names one, else its words, quoted."""
    return system_words(said) or f"« {said.strip()} »"


def sql_rejection(error: Exception) -> str | None:
    """What to do where PostgreSQL refused for the account, the database or itself; None: for what was asked."""
    code = str(getattr(error, "sqlstate", None) or "")
    if code == "42501":
        return f"la base refuse : {sql_reason(error)} ; donnez l'adresse du propriétaire du schéma (migrate)"
    if code in NOT_OUR_SCHEMA:
        return (
            f"cette base n'a pas le schéma de ce programme ({sql_reason(error)}) : est-ce la bonne ? Si oui, "
            "./territoire migrate d'abord"
        )
    return f"la base refuse : {sql_reason(error)}" if code[:2] in OF_THE_SERVER else None


class TargetFailure(Exception):
    """A place where files are put down takes none; the message says why, in French.

    `is_final`: nor later, before a person has acted.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final
