"""Answers in zstd or gzip, where nothing secret can be guessed from how short they become (BREACH).

Who can put text of their own into an answer that also carries a secret, and sees its length, finds the secret out
letter by letter. So pages, which carry the token of the session beside what an address asks for, are never
compressed, nor what a change answers, which may show a new secret, nor the session itself.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette_compress import CompressMiddleware, add_compress_type, remove_compress_type

# Paths of what is read by programs, and of files that everybody gets.
COMPRESSED = ("/v1/", "/openapi.json", "/docs/")
SECRET = frozenset({"/v1/session", "/v1/me"})
# A finished file is sent as it is kept: its ranges are those of these octets.
FINISHED = re.compile(r"/v1/exports/\d+/file")
MINIMUM_OCTETS = 1000

add_compress_type("text/csv")
# The last two are never reached by their paths; the first would hold events back.
remove_compress_type("text/event-stream")
remove_compress_type("text/html")


class CompressionMiddleware:
    """Compresses the answers to GET that may be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressing = CompressMiddleware(app, minimum_size=MINIMUM_OCTETS, brotli=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        serve = self._compressing if _is_compressed(scope) else self._app
        await serve(scope, receive, send)


def _is_compressed(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and scope["path"].startswith(COMPRESSED)
        and scope["path"] not in SECRET
        and FINISHED.fullmatch(scope["path"]) is None
    )
