"""`territoire pitr configure`: where the log and the images of the database go, in one command."""

import base64
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import typer

from cli.installed import installed
from cli.running import fail, usual_homes
from core.runtime.errors import located_reason
from services.supervisor.home import Home
from services.supervisor.pgbackrest import (
    ARCHIVE_TIMEOUT_S,
    AUTHORITY,
    CONFIGURATION,
    SFTP_KEY,
    PgBackRest,
)

# Of images; the log that lies between them goes with them.
KEPT_DAYS = 30
# A century; pgBackRest itself rejects numbers of eight digits, at each image and not before.
MOST_KEPT_DAYS = 36_500
SHA256_OCTETS = 32
COMMON = {
    "repo1-cipher-type": "aes-256-cbc",
    # One image a week is whole, and those older than this are forgotten once a newer one covers the time.
    "repo1-retention-full-type": "time",
    # Thousands of small chunks become few files, and of a changed file only the changed blocks are kept.
    "repo1-bundle": "y",
    "repo1-block": "y",
    "compress-type": "zst",
    "process-max": "2",
    "start-fast": "y",
    # How long an image waits for the log that belongs to it, after a burst.
    "archive-timeout": "3600",
    "log-level-file": "off",
    "log-level-console": "off",
    "log-level-stderr": "warn",
}


class WrongPlace(Exception):
    """A place that is none, in French."""


def configure(
    place: Annotated[
        str,
        typer.Argument(
            metavar="LIEU",
            help="Un dossier, sftp://compte@machine[:port]/dossier, ou "
            "s3://seau/dossier?endpoint=s3.exemple.fr&region=fr-par.",
        ),
    ],
    home: Annotated[Path | None, typer.Option("--home", help="Dossier de la pile.")] = None,
    host_key: Annotated[
        str, typer.Option(help="SFTP : l'empreinte de la machine, SHA256:… (ssh-keygen -lf, là-bas).")
    ] = "",
    key: Annotated[
        Path | None, typer.Option(help="SFTP : une clé privée à vous ; absente, une clé neuve est tirée.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="S3 : l'autorité d'un serveur à vous, en PEM.")] = None,
    s3_key: Annotated[
        str, typer.Option(envvar="TERRITOIRE_PITR_S3_KEY", help="S3 : l'identifiant de la clé d'accès.")
    ] = "",
    s3_secret: Annotated[
        str,
        typer.Option(
            envvar="TERRITOIRE_PITR_S3_SECRET", help="S3 : son secret ; jamais sur la ligne de commande."
        ),
    ] = "",
    keep: Annotated[int, typer.Option(min=1, max=MOST_KEPT_DAYS, help="Jusqu'où revenir, en jours.")] = KEPT_DAYS,
    force: Annotated[bool, typer.Option("--force", help="Remplacer une configuration qui existe.")] = False,
) -> None:
    """Dit où vont le journal et les images de la base, chiffrés, pour pouvoir revenir à un instant près."""
    found = Home(home or usual_homes()[0])
    repository = PgBackRest.beside(found.postgres_data)
    if repository.is_configured and not force:
        raise fail(f"{repository.configuration} existe déjà ; --force le remplace, et garde sa phrase secrète", 2)
    if not found.folder.is_dir():
        raise fail(f"{found.folder} n'est le dossier d'aucune pile : démarrez-la d'abord, ou dites --home", 2)
    try:
        address = _split(place)
        if address.scheme == "sftp":
            options, files = _sftp(address, host_key), {SFTP_KEY: _private_key(key)}
        elif address.scheme == "s3":
            s3_key = s3_key or typer.prompt("Identifiant de la clé d'accès")
            s3_secret = s3_secret or typer.prompt("Son secret", hide_input=True)
            options = _s3(address, s3_key, s3_secret)
            files = {} if ca is None else {AUTHORITY: ca.read_bytes()}
        else:
            options, files = _disk(place), {}
    except WrongPlace as wrong:
        raise fail(str(wrong), 2) from None
    except OSError as refused:
        raise fail(located_reason(refused), 2) from None
    phrase = passphrase_of(repository.configuration) or secrets.token_urlsafe(48)
    text = text_of({**options, **COMMON, "repo1-retention-full": str(keep), "repo1-cipher-pass": phrase})
    try:
        repository.write({**files, CONFIGURATION: text.encode()})
    except OSError as refused:
        raise fail(located_reason(refused)) from None
    _say_what_is_next(repository, found.folder, place if address.scheme not in {"sftp", "s3"} else None)


def text_of(options: Mapping[str, str]) -> str:
    """A configuration of pgBackRest."""
    return "".join(["[global]\n", *(f"{name}={value}\n" for name, value in options.items())])


def passphrase_of(configuration: Path) -> str | None:
    """The one in use: what is encrypted with it stays readable."""
    if not configuration.exists():
        return None
    lines = configuration.read_text("utf-8").splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("repo1-cipher-pass=")), None)


def _split(place: str) -> SplitResult:
    try:
        return urlsplit(place)
    except ValueError:
        raise WrongPlace(f"{place} : les crochets d'une adresse IPv6 vont par deux, comme [::1]") from None


def _port(address: SplitResult) -> int:
    try:
        port = 22 if address.port is None else address.port
    except ValueError:
        port = 0
    if not port:
        raise WrongPlace(f"{address.geturl()} : le port n'est pas un nombre de 1 à 65535")
    return port


def _disk(place: str) -> dict[str, str]:
    if not place.startswith("/"):
        raise WrongPlace(f"{place} : attendu un dossier (/…), sftp://… ou s3://…")
    return {"repo1-type": "posix", "repo1-path": place}


def _sftp(address: SplitResult, host_key: str) -> dict[str, str]:
    if not (address.hostname and address.username and address.path.strip("/")):
        raise WrongPlace("attendu sftp://compte@machine[:port]/dossier")
    if address.password:
        raise WrongPlace("pas de mot de passe : une clé, dont la partie publique est donnée à l'autre machine")
    return {
        "repo1-type": "sftp",
        "repo1-path": unquote(address.path),
        "repo1-sftp-host": address.hostname,
        "repo1-sftp-host-port": str(_port(address)),
        "repo1-sftp-host-user": unquote(address.username),
        "repo1-sftp-host-key-hash-type": "sha256",
        "repo1-sftp-host-key-check-type": "fingerprint",
        "repo1-sftp-host-fingerprint": hexadecimal(host_key),
    }


def hexadecimal(host_key: str) -> str:
    """A fingerprint as ssh-keygen shows it, as pgBackRest compares it.

    Raises:
        WrongPlace: it is none.
    """
    name, _, text = host_key.partition(":")
    try:
        octets = base64.b64decode(f"{text}=", validate=True)
    except ValueError:  # One of the alphabet, or of ASCII.
        octets = b""
    if name != "SHA256" or len(octets) != SHA256_OCTETS:
        raise WrongPlace(
            "--host-key SHA256:… : l'empreinte de la machine, pour qu'aucune autre ne reçoive l'archive "
            "(là-bas : ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)"
        )
    return octets.hex()


def _private_key(given: Path | None) -> bytes:
    """The operator's, or a new one, whose public half is shown."""
    if given is not None:
        return given.read_bytes()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = Ed25519PrivateKey.generate()
    public = made.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    typer.echo(f"À ajouter aux clés permises du compte, là-bas :\n  {public.decode()} territoire-pitr")
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _s3(address: SplitResult, key: str, secret: str) -> dict[str, str]:
    said = {name: values[-1] for name, values in parse_qs(address.query).items()}
    unknown = said.keys() - {"endpoint", "region", "style"}
    if unknown:
        raise WrongPlace(
            f"inconnu dans s3://… : {', '.join(sorted(unknown))} (possibles : endpoint, region, style)"
        )
    if not address.netloc or not said.get("endpoint"):
        raise WrongPlace("attendu s3://seau/dossier?endpoint=s3.exemple.fr&region=fr-par")
    return {
        "repo1-type": "s3",
        "repo1-path": address.path or "/",
        "repo1-s3-bucket": address.netloc,
        "repo1-s3-endpoint": said["endpoint"],
        "repo1-s3-region": said.get("region", "us-east-1"),
        "repo1-s3-uri-style": said.get("style", "path"),
        "repo1-s3-key": key,
        "repo1-s3-key-secret": secret,
    }


def _say_what_is_next(repository: PgBackRest, home: Path, disk: str | None) -> None:
    server, said = installed(), shlex.quote(str(home))
    typer.echo(f"Écrit : {repository.configuration} (lisible de la base seule).")
    typer.echo(
        f"Gardez une copie de {repository.folder} dans un coffre, avec secrets.json : il a la phrase qui "
        "déchiffre l'archive ; sans elle, et sans l'accès, rien ne se restaure."
    )
    if server is None or server.home != home:
        typer.echo(
            f"Redémarrez la pile : la base archive alors son journal, toutes les {ARCHIVE_TIMEOUT_S} s au plus. "
            f"Puis la première image, et un essai :\n  ./territoire pitr backup --home {said}\n"
            f"  ./territoire pitr drill --home {said}"
        )
        return
    if disk is not None and (server.backups is None or not Path(disk).is_relative_to(server.backups / "pitr")):
        typer.echo(
            f"Ce dossier n'est pas sous {server.backups}/pitr : permettez-le aux trois unités, par systemctl edit "
            f"territoire territoire-pitr territoire-drill :\n  [Service]\n  ReadWritePaths={shlex.quote(disk)}"
        )
    typer.echo(
        f"Puis : sudo systemctl restart territoire   (la base archive dès lors, toutes les {ARCHIVE_TIMEOUT_S} s "
        "au plus)\n"
        "  sudo systemctl start territoire-pitr.service    (la première image)\n"
        "  sudo systemctl enable --now territoire-pitr.timer territoire-drill.timer"
    )
