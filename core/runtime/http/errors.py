"""Errors as problem+json (RFC 9457), in French first; never a stack trace, never a value that was sent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from core.model.ownership import REGISTERED_ELSEWHERE
from core.model.quotas import CONSTRAINT as QUOTA
from core.model.quotas import Exceeded
from core.runtime.errors import describe
from core.runtime.postgres import (
    BAD_DATA,
    DATABASE_AWAY,
    ExclusionViolationError,
    ForeignKeyViolationError,
    InsufficientPrivilegeError,
    ProgramLimitExceededError,
    UniqueViolationError,
)
from decoders.javascript.pool import PoolUnavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
METHOD_NOT_ALLOWED = 405
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Of a request that is matched again.
OF_ROUTING = frozenset({"type", "path", "root_path", "headers", "app", "query_string", "scheme", "server"})

TITLES = {
    400: "Requête illisible",
    401: "Clé d'API ou signature absente ou invalide",
    403: "Droits insuffisants",
    404: "Introuvable",
    405: "Méthode non autorisée",
    408: "Requête trop lente",
    409: "Conflit avec ce qui existe",
    410: "Retiré",
    412: "L'objet a changé entre-temps",
    413: "Requête trop volumineuse",
    422: "Données invalides",
    429: "Trop de requêtes",
    500: "Erreur interne",
    503: "Service momentanément indisponible",
}

MESSAGES_FR = {
    "missing": "champ obligatoire",
    "not_empty": "ce champ ne se vide pas ; absent, il reste tel quel",
    "extra_forbidden": "champ inconnu",
    "string_too_short": "texte trop court ou vide",
    "string_too_long": "texte trop long",
    "string_type": "texte attendu",
    "string_pattern_mismatch": "{pattern}",
    "int_parsing": "nombre entier attendu",
    "int_type": "nombre entier attendu",
    "float_parsing": "nombre attendu",
    "float_type": "nombre attendu",
    "finite_number": "nombre fini attendu",
    "bytes_type": "texte attendu, en Base64",
    "bytes_invalid_encoding": "Base64 attendu",
    "bytes_too_long": "contenu trop long",
    "bytes_too_short": "contenu trop court ou vide",
    "bool_parsing": "true ou false attendu",
    "bool_type": "true ou false attendu",
    "dict_type": "objet attendu",
    "list_type": "liste attendue",
    "tuple_type": "liste attendue",
    "model_attributes_type": "objet attendu",
    "uuid_parsing": "UUID attendu",
    "uuid_type": "UUID attendu",
    "timezone_aware": "instant avec fuseau attendu, par exemple 2026-11-25T12:00:00Z",
    "json_invalid": "JSON mal formé",
    "string_unicode": "texte Unicode attendu",
    "int_from_float": "nombre entier attendu",
    "int_parsing_size": "nombre trop grand",
    "greater_than": "plus de {gt} attendu",
    "greater_than_equal": "{ge} au moins attendu",
    "less_than": "moins de {lt} attendu",
    "less_than_equal": "{le} au plus attendu",
    "literal_error": "valeur attendue : {expected}",
    "too_long": "{max_length} éléments au plus",
    "too_short": "{min_length} élément au moins",
    "date_type": "jour attendu, par exemple 2026-11-25",
    "date_parsing": "jour attendu, par exemple 2026-11-25",
    "date_from_datetime_parsing": "jour attendu, par exemple 2026-11-25",
    "date_from_datetime_inexact": "jour attendu, par exemple 2026-11-25",
    "datetime_type": "instant attendu, par exemple 2026-11-25T12:00:00Z",
    "datetime_parsing": "instant attendu, par exemple 2026-11-25T12:00:00Z",
    "datetime_from_date_parsing": "instant attendu, par exemple 2026-11-25T12:00:00Z",
    "datetime_object_invalid": "instant attendu, par exemple 2026-11-25T12:00:00Z",
    "model_type": "objet attendu",
    "time_type": "heure attendue, HH:MM",
    "time_parsing": "heure attendue, HH:MM",
}

# What curl posts without a Content-Type option is a form.
NO_OBJECT = "model_attributes_type"
NOT_JSON_FR = "objet JSON attendu, avec l'en-tête « Content-Type: application/json »"
# Patterns in words; any other is shown as it is.
PATTERNS_FR = {
    r"^[a-z0-9][a-z0-9_]*$": "minuscules sans accent, chiffres et « _ » seulement",
    r"^[a-z0-9][a-z0-9_.-]*$": "minuscules sans accent, chiffres, « _ », « . » et « - » seulement",
    r"^[a-z0-9][a-z0-9-]{0,62}$": "minuscules sans accent, chiffres et « - » seulement, 63 au plus",
    r"^[a-z][a-z0-9_]{0,39}$": "une minuscule, puis minuscules sans accent, chiffres et « _ », 40 en tout au plus",
    r"^[^\x00-\x1f\x7f]*$": "une seule ligne, sans caractère de contrôle",
    r"^[^\x00-\x1f\x7f]+$": "une seule ligne, sans caractère de contrôle",
}

log = structlog.get_logger()


class FieldError(BaseModel):
    """Ce qui ne va pas dans un champ."""

    field: str = Field(examples=["body.dev_eui"])
    code: str = Field(examples=["missing"])
    message: str = Field(examples=["champ obligatoire"])


class ProblemDetails(BaseModel):
    """Une erreur (RFC 9457)."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Introuvable"])
    status: int = Field(examples=[404])
    detail: str = Field("", examples=["capteur 70b3d57ed0001234 introuvable"])
    errors: list[FieldError] | None = None


class Problem(Exception):
    """Raised by a route: the request ends with this status, and says why."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers


def not_found(what: str) -> Problem:
    """404, also for what belongs to another tenant: its existence is nobody else's business."""
    return Problem(404, f"{what} introuvable")


def read_only(what: str) -> Problem:
    """403 about what is visible and belongs to another tenant."""
    return Problem(403, f"{what} : à une autre collectivité, en lecture seule")


def invalid(field: str, code: str, message: str) -> Problem:
    """422 about one field of the body."""
    return Problem(422, message, errors=[FieldError(field=f"body.{field}", code=code, message=message)])


def render(
    status: int,
    detail: str = "",
    errors: Sequence[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer that carries a problem."""
    problem = ProblemDetails(
        type="about:blank",
        title=TITLES.get(status, "Erreur"),
        status=status,
        detail=detail,
        errors=None if errors is None else list(errors),
    )
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def database_away() -> Response:
    """The answer while the database is away: come back in a moment."""
    return render(503, "la base de données ne répond pas, réessayez", headers={"Retry-After": str(RETRY_AFTER_S)})


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """What pydantic found wrong, in French, without what was given."""
    return [_field_error(error) for error in errors]


def _field_error(error: Mapping[str, Any]) -> FieldError:
    # Never error["input"]: it may be a key.
    code = error["type"]
    limits = {name: str(limit).replace(" or ", " ou ") for name, limit in error.get("ctx", {}).items()}
    if "pattern" in limits:
        limits["pattern"] = PATTERNS_FR.get(limits["pattern"], f"forme attendue : {limits['pattern']}")
    french = NOT_JSON_FR if tuple(error["loc"]) == ("body",) and code == NO_OBJECT else MESSAGES_FR.get(code)
    return FieldError(
        field=".".join(str(part) for part in error["loc"]),
        code=code,
        message=str(error["msg"]) if french is None else french.format_map(limits),
    )


def render_problem(problem: Problem) -> Response:
    """The answer that says what was raised."""
    return render(problem.status, problem.detail, problem.errors, problem.headers)


async def _problem(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - Registered for this class.
    return render_problem(problem)


async def _invalid(_request: Request, invalid_request: Exception) -> Response:
    assert isinstance(invalid_request, RequestValidationError)  # noqa: S101 - Registered for this class.
    errors = field_errors(invalid_request.errors())
    return render(422, "; ".join(f"{error.field} : {error.message}" for error in errors[:5]), errors)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """An address that does not exist, a method that it has not, a body that is no JSON."""
    assert isinstance(error, HTTPException)  # noqa: S101 - Registered for this class.
    headers = error.headers
    if error.status_code == METHOD_NOT_ALLOWED:
        headers = {**(headers or {}), "Allow": ", ".join(allowed_methods(request))}
    detail = {404: "cette adresse n'existe pas", 400: "le corps de la requête n'est pas du JSON lisible"}
    return render(error.status_code, detail.get(error.status_code, ""), headers=headers)


def allowed_methods(request: Request) -> list[str]:
    """Every method that the address of this request has: its routes, one for each method, know only their own."""
    asked = {name: value for name, value in request.scope.items() if name in OF_ROUTING}
    found = [
        method
        for method in METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
    return sorted({*found, *({"HEAD"} if "GET" in found else ())})


async def _away(_request: Request, away: Exception) -> Response:
    log.warning("request_refused_database_away", error=describe(away))
    return database_away()


async def _workers_away(_request: Request, away: Exception) -> Response:
    log.warning("request_refused_codec_workers_away", error=str(away))
    return render(
        503, "le moteur des décodeurs ne répond pas, réessayez", headers={"Retry-After": str(RETRY_AFTER_S)}
    )


CONFLICTS = {
    # Unique over all tenants; routes have looked at the caller's own before.
    "device_dev_eui_key": REGISTERED_ELSEWHERE,
    "gateway_gateway_id_key": REGISTERED_ELSEWHERE,
    "eui_claim_open": "vous contestez déjà cet EUI : l'opérateur va décider",
    "tenant_slug_key": "une collectivité porte déjà cet identifiant court",
    "asset_tenant_id_kind_name_key": "un actif de ce type porte déjà ce nom",
    "device_profile_tenant_id_name_key": "un profil porte déjà ce nom",
    "codec_tenant_id_name_key": "un décodeur porte déjà ce nom",
    "codec_version_of_another_tenant": "cette version de décodeur est à une autre collectivité, ou n'est pas "
    "proposée à toutes",
    "lns_source_tenant_id_name_key": "une source porte déjà ce nom",
    "lighting_program_named": "un programme porte déjà ce nom",
    "assignment_asset_id_position_during_excl": "un capteur sert déjà cet actif à cette position : "
    "PUT /v1/assets/{id}/device le remplace",
    "assignment_device_id_during_excl": "ce capteur sert déjà un actif",
    "measurement_webhook_endpoint_id_tenant_id_fkey": "des webhooks de mesures envoient encore à cette adresse : "
    "retirez-les d'abord",
}


REFUSED = {
    "tenant_member_of_circle": "une collectivité ne peut pas être membre d'elle-même, même indirectement",
    "webhook_endpoint_of_software": "une adresse qui reçoit des mesures n'est pas celle de l'exploitant",
}


REJECTIONS = (
    *(UniqueViolationError, ExclusionViolationError, ForeignKeyViolationError),
    *(ProgramLimitExceededError, InsufficientPrivilegeError),
)
NOT_YOURS = "à une autre collectivité, en lecture seule"


def problem_of(error: Exception) -> Problem | None:
    """What somebody is told of a rejection by the database; None: it is another error."""
    constraint = getattr(error, "constraint_name", None)
    match error:
        case UniqueViolationError() | ExclusionViolationError() | ForeignKeyViolationError():
            log.info("request_conflict", constraint=constraint)
            return Problem(
                409, CONFLICTS.get(constraint or "", "un objet semblable existe déjà, ou en dépend encore")
            )
        case ProgramLimitExceededError() if constraint == QUOTA:
            exceeded = Exceeded.parse(getattr(error, "detail", ""))
            log.info("request_exceeds_quota", kind=exceeded.kind, most=exceeded.most)
            wrong = FieldError(field="quota", code=exceeded.kind, message=exceeded.french)
            return Problem(409, exceeded.french, errors=[wrong])
        case InsufficientPrivilegeError():
            log.info("request_refused_by_row_security", error=str(error))
            return Problem(403, NOT_YOURS)
        case ProgramLimitExceededError():
            return _bad_data(error, constraint)
        case _ if isinstance(error, BAD_DATA):
            return _bad_data(error, constraint)
        case _:
            return None


def _bad_data(error: Exception, constraint: str | None) -> Problem:
    if constraint in REFUSED:
        return Problem(422, REFUSED[constraint])
    log.info("request_refused_by_database", constraint=constraint, error=type(error).__name__)
    return Problem(422, f"valeur refusée ({constraint})" if constraint else "valeur refusée")


async def _rejected(_request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    assert problem is not None  # noqa: S101 - Registered for what it knows.
    return render_problem(problem)


def handle_errors(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(PoolUnavailable, _workers_away)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, _away)
    for rejected in (*BAD_DATA, *REJECTIONS):
        app.add_exception_handler(rejected, _rejected)


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": TITLES[status], "model": ProblemDetails} for status in (401, 403, 404, 409, 422, 503)
}
