"""Documents as octets, also those that no careful writer makes."""

import json
import random
from typing import Any

from lab.fuzz import mutations

ENCODINGS = ("utf-8",) * 20 + ("utf-16", "latin-1")


def body_of(source: random.Random, recorded: Any) -> bytes:
    """A recorded document, spoilt in what it holds, in its octets, or in both; now and then something else."""
    match source.randrange(30):
        case 0:
            return mutations.nested(source)
        case 1:
            return mutations.noise(source, 400)
        case 2 | 3:
            return written(source, mutations.anything(source))
        case 4 | 5 | 6:
            return mutations.octets(source, json.dumps(recorded).encode())
        case 7:
            return mutations.octets(source, written(source, mutations.document(source, recorded)))
        case _:
            return written(source, mutations.document(source, recorded))


def written(source: random.Random, document: Any) -> bytes:
    """JSON, with NaN and lone surrogates where the document has them; in another encoding now and then."""
    text = json.dumps(document, ensure_ascii=source.random() < 0.5)  # noqa: PLR2004 - Either way is JSON.
    encoding = source.choice(ENCODINGS)
    return text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")
