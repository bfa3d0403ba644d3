"""HTTP client of a running stack's API."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.running import fail, find_run, require_replaceable
from core.runtime.tls import client_tls

if TYPE_CHECKING:
    import httpx

ANSWER_WITHIN_S = 60
REFUSED = 2  # Exit status of a command whose request the API, or what was typed, does not allow.
FAILED = 1  # Of one whose request came to nothing.
PAGE = 200
MOST_DETAILS = 5
# Of a download that is cut short.
ATTEMPTS, PARTIAL = 5, 206

HomeOption = Annotated[Path | None, typer.Option("--home", help="Dossier de la pile qui tourne.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="TERRITOIRE_API_KEY",
        help="Clé d'API de la collectivité (manage) ; absente : celle de l'exploitant de la pile.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="La réponse de l'API, pour un programme.")]
ReportOption = Annotated[bool, typer.Option("--json", help="Le bilan, pour un programme.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Tout vérifier et tout dire, ne rien écrire.")]
SharedOption = Annotated[
    bool, typer.Option("--shared", help="Proposer à toutes les collectivités (clé de l'exploitant).")
]
UrlOption = Annotated[str | None, typer.Option("--url", help="Adresse de l'API ; absente : celle de la pile.")]


class ApiError(Exception):
    """The API answered an error, or not at all; the message, in French, says why."""


class ApiClient:
    """Requests with a key; raises ApiError for every answer that is not a success."""

    def __init__(self, client: "httpx.Client", key: str) -> None:
        self._client = client
        self.key = key

    def post(self, path: str, body: Any, **query: Any) -> Any:
        """The answer to POST."""
        return self._asked("POST", path, json=body, params=query)

    def download(self, path: str, file: Path, **query: Any) -> int:
        """The answer to GET in a file of its owner's, written as it comes; how many octets."""
        import httpx

        draft = _draft_of(file)
        try:
            with self._client.stream("GET", path, params=query) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._failure(answer)
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "wb") as output:
                    for part in answer.iter_bytes():
                        output.write(part)
        except (httpx.HTTPError, httpx.InvalidURL) as away:
            raise ApiError(f"l'API ne répond pas, ou plus : {away}") from None
        draft.replace(file)
        return file.stat().st_size

    def download_in_ranges(self, path: str, file: Path, size: int, reached: Callable[[int], None]) -> None:
        """A finished file of so many octets; what was cut short goes on where it stopped, a few times.

        Its ETag is its SHA-256: what does not have it is not kept.
        """
        import hashlib

        import httpx

        draft = _draft_of(file)
        digest, tag, left = hashlib.sha256(), "", ATTEMPTS
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
            while output.tell() < size or not tag:
                ranged = {"Range": f"bytes={output.tell()}-", "If-Range": tag} if tag else {}
                try:
                    with self._client.stream("GET", path, headers=ranged) as answer:
                        if not answer.is_success or (tag and answer.status_code != PARTIAL):
                            answer.read()
                            raise self._failure(answer)
                        tag = answer.headers["etag"]
                        for part in answer.iter_bytes():
                            output.write(part)
                            digest.update(part)
                            reached(output.tell())
                except (httpx.HTTPError, httpx.InvalidURL) as away:
                    left -= 1
                    if not left:
                        raise ApiError(f"l'API ne répond pas, ou plus : {away}") from None
        if tag != f'"{digest.hexdigest()}"':
            draft.unlink()
            raise ApiError("le fichier reçu n'est pas celui qui a été écrit : relancez")
        draft.replace(file)

    def put(self, path: str, body: Any) -> Any:
        """The answer to PUT."""
        return self._asked("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """The answer to PATCH."""
        return self._asked("PATCH", path, json=body)

    def get(self, path: str, **query: Any) -> Any:
        """The answer to GET."""
        return self._asked("GET", path, params=query)

    def list_all(self, path: str, **query: Any) -> Iterator[Any]:
        """The items of every page of a list, each page asked for when the ones before are read."""
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=PAGE, **query, **cursor)
            yield from page["items"]
            if page["next"] is None:
                return
            cursor = {"cursor": page["next"]}

    def _asked(self, method: str, path: str, **request: Any) -> Any:
        import httpx

        try:
            answer = self._client.request(method, path, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as away:
            raise ApiError(f"l'API ne répond pas : {away}") from None
        if answer.is_success:
            return answer.json() if answer.content else None
        raise self._failure(answer)

    def _failure(self, answer: "httpx.Response") -> ApiError:
        problem: dict[str, Any] = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        details = [f"{one['field']} : {one['message']}" for one in problem.get("errors") or ()]
        said = problem.get("detail") or problem.get("title") or answer.reason_phrase
        return ApiError(" ; ".join([f"l'API refuse ({answer.status_code}) : {said}", *details[:MOST_DETAILS]]))


def _draft_of(file: Path) -> Path:
    """What is written first, beside it; ends the command where either is there and no file."""
    draft = file.with_name(f"{file.name}.part")
    require_replaceable(file, draft)
    return draft


TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", help="Collectivité, par son identifiant court ; absente : celle de la clé."),
]


def of_tenant(tenant: str | None) -> dict[str, str]:
    """The query that names a tenant; without one it is the key's own."""
    return {} if tenant is None else {"tenant": tenant}


@contextmanager
def open_api(api_key: str | None, url: str | None, home: Path | None) -> Generator[ApiClient]:
    """The API at an address; that of the running stack, with its key, where they are not given."""
    import httpx

    if api_key is None or url is None:
        run = find_run(home)
        api_key, url = api_key or run.api_key, url or run.api_url
    with httpx.Client(
        base_url=url.rstrip("/"),
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=ANSWER_WITHIN_S,
        verify=client_tls(),
    ) as client:
        yield ApiClient(client, api_key)


@contextmanager
def api_session(
    api_key: str | None, url: str | None, home: Path | None, status: int = REFUSED
) -> Generator[ApiClient]:
    """As `open_api`, for a command that ends, with what the API says and this status, at its first error."""
    try:
        with open_api(api_key, url, home) as api:
            yield api
    except ApiError as refused:
        raise fail(str(refused), status) from None
