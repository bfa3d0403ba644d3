"""ETag and If-None-Match of what is over: the same question is answered 304 until something has come late.

The tag is a digest of the answer, so that it holds whatever changed: late data, a correction, a codec, a right.
"""

import hashlib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.list_formats import JSON, chosen_format

TAG = 32
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Rien n'a changé depuis l'ETag de `If-None-Match` (d'une période close)"}
}


def answer_of_period(request: Request, answer: object, *, is_closed: bool) -> Response:
    """What a list answers; with a tag where the period is over, and without a body to whom has it already."""
    body = msgspec.json.encode(answer)
    if not is_closed:
        return Response(body, media_type=JSON)
    wanted = chosen_format(request.headers.get("accept"))
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:TAG]}-{wanted.rpartition("/")[2]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
    if _is_known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=JSON, headers=headers)


def _is_known(given: str, tag: str) -> bool:
    """Compared weakly (RFC 9110, section 13.1.2)."""
    known = {one.strip().removeprefix("W/") for one in given.split(",")}
    return bool(known & {"*", tag.removeprefix("W/")})
