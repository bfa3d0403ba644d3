"""Query parameters that a route does not know are rejected, with the nearest that it knows; so is one given twice.

A filter that is misspelt and ignored answers with everything: its caller takes that for the answer.
"""

from collections import Counter
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from core.runtime.http.errors import FieldError, Problem

# Others write these addresses, and add what they like: partners' systems, and providers of identities (RFC 9207).
OF_OTHERS = frozenset({"/v1/partner-events/{id}", "/v1/work-order-reports/{id}", "/v1/oidc/callback"})
MOST_SHOWN = 5
LONGEST_SHOWN = 60
# By the identity of a route, which lives as long as the process and has no hash.
_known: dict[int, dict[str, bool]] = {}


async def reject_unknown_parameters(request: Request) -> None:
    """Raises 422 for a query parameter that the route of this request does not have, or does not take twice."""
    route: APIRoute = request.scope["route"]
    if not request.scope["query_string"] or route.path in OF_OTHERS:
        return
    known = parameters_of(route)
    given = Counter(name for name, _ in request.query_params.multi_items())
    wrong = [_unknown(name, known) for name in given if name not in known]
    wrong += [_repeated(name) for name, times in given.items() if times > 1 and known.get(name) is False]
    if wrong:
        detail = " ; ".join(f"{error.field} : {error.message}" for error in wrong[:MOST_SHOWN])
        raise Problem(422, detail, errors=wrong)


def parameters_of(route: APIRoute) -> dict[str, bool]:
    """The query parameters of a route by their name in the address, with whether each is a list of values."""
    known = _known.get(id(route))
    if known is None:
        fields = [field for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)]
        known = _known[id(route)] = {field.alias: _is_list(field.field_info.annotation) for field in fields}
    return known


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in {list, set, tuple} or any(map(_is_list, get_args(annotation)))


def _unknown(name: str, known: dict[str, bool]) -> FieldError:
    nearest = get_close_matches(name.lower(), known, 1, 0.5)
    if nearest:
        message = f"paramètre inconnu ; le plus proche est « {nearest[0]} »"
    elif known:
        message = f"paramètre inconnu ; connus : {', '.join(sorted(known))}"
    else:
        message = "paramètre inconnu ; cette adresse n'en a aucun"
    return FieldError(field=_field(name), code="unknown_parameter", message=message)


def _repeated(name: str) -> FieldError:
    message = "paramètre donné plusieurs fois ; une seule valeur attendue"
    return FieldError(field=_field(name), code="repeated_parameter", message=message)


def _field(name: str) -> str:
    shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
    return f"query.{shown}"
