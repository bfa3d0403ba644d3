"""Checks a codec's source before it is published."""

import hashlib

from api.codec_fields import Form, Language
from core.runtime.http.errors import invalid
from decoders.declarative import InvalidDeclaration, parse
from decoders.javascript.inputs import uplink_input
from decoders.javascript.pool import Call, Script
from ingest.scripts import Workers

UNUSABLE = ("Le codec ne se charge pas", "Le codec dépasse", "Le codec n'a pas de fonction")


async def check_source(workers: Workers, language: Language, source: str, form: Form | None) -> None:
    """422 with the reason, in French, for a source that cannot be loaded."""
    if language == "declarative":
        if form is not None:
            raise invalid("form", "declarative", "un tableau YAML n'a pas de point d'entrée")
        try:
            parse(source)
        except InvalidDeclaration as wrong:
            raise invalid("source", "declaration", str(wrong)) from None
        return
    key = f"check/0/{hashlib.sha256(source.encode()).hexdigest()}/{form}"
    call = Call(Script(key, source, form), "decodeUplink", uplink_input(1, b"\0", 0))
    [answer] = await workers.call([call])
    # What it says of this frame is no matter: it has only to load, and to have the function.
    if answer.failure is not None and answer.reason.startswith(UNUSABLE):
        raise invalid("source", answer.failure, answer.reason)
