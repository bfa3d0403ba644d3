"""Files that pages load: our own and those of libraries, under an address that changes when one of them does."""

import gzip
import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.runtime.http.errors import not_found

HERE = Path(__file__).parent
OUR_OWN, LIBRARIES = HERE / "static", HERE / "libraries"
PREFIX = "/console"
KEPT = "public, max-age=31536000, immutable"
# Below, an archive's own header is most of it.
COMPRESSED_FROM = 512
TEXTS = ("text/", "application/json", "image/svg", "application/geo+json")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it goes out."""

    content: bytes
    compressed: bytes | None
    media_type: str


def _sources() -> Iterator[tuple[str, Path]]:
    """Every file by the name in its address; libraries are absent where npm could not bring them."""
    for folder in (OUR_OWN, LIBRARIES):
        for path in sorted(folder.glob("*.*")):
            if not path.name.endswith(".LICENSE"):
                yield path.name, path


@cache
def _all() -> tuple[str, dict[str, StaticFile]]:
    digest, found = hashlib.sha256(), dict[str, StaticFile]()
    for name, path in _sources():
        content = path.read_bytes()
        digest.update(name.encode() + b"\0" + content)
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        packed = len(content) >= COMPRESSED_FROM and media_type.startswith(TEXTS)
        compressed = gzip.compress(content, 9, mtime=0) if packed else None
        found[name] = StaticFile(content, compressed, media_type)
    return digest.hexdigest()[:16], found


def address_of(name: str) -> str:
    """Where browsers get a file; modules find each other beside themselves, so all have one digest."""
    return f"{PREFIX}/{_all()[0]}/{name}"


def has_libraries() -> bool:
    """Whether maps, curves and live figures can work."""
    return "htmx.js" in _all()[1]


@cache
def icon(name: str) -> str:
    """The picture of an icon, to be put into a page; nothing where npm could not bring it."""
    path = LIBRARIES / "icons" / f"{name}.svg"
    if not path.exists():
        return ""
    return path.read_text("utf-8").replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


@router.get(f"{PREFIX}/{{digest}}/{{name}}")
async def read_file(digest: str, name: str, request: Request) -> Response:
    """A file, to be kept for a year: after an upgrade pages ask for another address."""
    answer = _answer(digest, name, request)
    if answer is None:
        raise not_found("fichier")
    return answer


def _answer(digest: str, name: str, request: Request) -> Response | None:
    current, found = _all()
    file = found.get(name)
    if file is None:
        return None
    headers = {"ETag": f'"{current}"', "Vary": "Accept-Encoding"}
    # A page of before the upgrade gets the file of now, and keeps it for no longer.
    headers["Cache-Control"] = KEPT if digest == current else "no-cache"
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type
        )
    return Response(file.content, headers=headers, media_type=file.media_type)


class FilesMiddleware:
    """Answers for files before a route is looked for among two hundred: a first visit asks for ten of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a file that there is; what else may be asked of its address is the route's."""
        path: str = scope.get("path", "")
        if scope["type"] == "http" and scope["method"] == "GET" and path.startswith(f"{PREFIX}/"):
            digest, _, name = path.removeprefix(f"{PREFIX}/").partition("/")
            answer = _answer(digest, name, Request(scope))
            if answer is not None:
                scope["route"] = ROUTE  # For the measures.
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


ROUTE = router.routes[-1]
