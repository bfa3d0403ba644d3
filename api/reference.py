"""The reference page at /docs: Swagger UI from files that we serve ourselves, under a strict policy."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import APIRouter, FastAPI, Response
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from api.idempotency import DESCRIPTION, KEY
from api.negotiation import describe_formats
from core.runtime.http.errors import MEDIA_TYPE, TITLES

ASSETS = Path(fastapi_offline.__file__).parent / "static"
# Swagger UI sets style attributes; scripts come from files only.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Territoire – référence de l'API</title>
<link rel="icon" href="/docs/assets/favicon.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#reference",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""

# In place of FastAPI's "Successful Response".
SUCCESSES = {
    "200": "Réponse",
    "201": "Créé",
    "202": "Pris en charge",
    "204": "Fait ; la réponse est vide",
    "303": "Redirection",
}

# Whatever route a body is for, and where none is expected: it is not JSON, comes too slowly, is too long.
OF_BODIES = (400, 408, 413)

SERVERS: list[dict[str, Any]] = [{"url": "/", "description": "Cette plateforme"}]

# Names from which others make names of modules, with their titles.
TITLES_OF_TAGS = {
    "sessions": "Sessions",
    "people": "Personnes",
    "audit": "Audit",
    "tenants": "Collectivités et clés",
    "device-profiles": "Profils d'appareils",
    "decoding-keys": "Clés de décodage",
    "codecs": "Décodeurs",
    "gateways": "Passerelles",
    "eui-claims": "EUI contestés",
    "assets": "Actifs",
    "devices": "Capteurs",
    "imports": "Imports",
    "waste": "Déchets",
    "measurements": "Mesures",
    "exports": "Exports",
    "indicators": "Indicateurs",
    "data-subjects": "Droits des personnes",
    "alerts": "Alertes",
    "alert-rules": "Règles d'alerte",
    "silences": "Silences et calendriers",
    "work-orders": "Interventions",
    "kits": "Kits",
    "cost": "Coûts du réseau",
    "reports": "Rapports du mois",
    "network": "Couverture du réseau",
    "teams": "Équipes",
    "partner-events": "Événements de partenaires",
    "webhooks": "Webhooks",
    "lns-sources": "Sources d'uplinks",
    "applications": "Applications",
    "lighting": "Éclairage public",
    "multicast": "Groupes multicast",
    "sharing": "Partages",
    "privacy": "Données personnelles",
    "publications": "Publications",
}
TAGS: list[dict[str, Any]] = [
    {"name": name, "x-displayName": title, "description": title} for name, title in TITLES_OF_TAGS.items()
]

# As `api.entity_tags` finds the objects that have a tag.
CHANGED_BY = frozenset({"patch", "put", "delete"})

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page() -> Response:
    """The page."""
    return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
async def start() -> Response:
    """What starts it."""
    return Response(START, media_type="text/javascript")


def operation_id(route: APIRoute) -> str:
    """The name of an operation whose route gives it none: its function's, `listAssets` for `list_assets`.

    Clients are generated from these names: a function that is renamed gets its former one as `operation_id`.
    """
    verb, *nouns = route.name.split("_")
    return "".join(["get" if verb == "read" else verb, *(noun.capitalize() for noun in nouns)])


def _document(app: FastAPI, lists: Sequence[APIRoute]) -> dict[str, Any]:
    """The OpenAPI document, with a media type of its own for errors, and French descriptions of successes."""
    document = FastAPI.openapi(app)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "post" and operation.get("security"):
                _describe_idempotency(operation)
            # An address may ask too often, too, and any change may carry a body.
            for status in (429, *(() if method == "get" else OF_BODIES)):
                _add_problem(operation, str(status), TITLES[status])
            if path.endswith("}") and "get" in operations and CHANGED_BY & operations.keys():
                _describe_tags(method, operation)
            for status, response in operation["responses"].items():
                response["description"] = SUCCESSES.get(status, response["description"])
                content = response.get("content", {})
                if status >= "4" and "application/json" in content:
                    content[MEDIA_TYPE] = content.pop("application/json")
    describe_formats(document, lists)
    return document


def _describe_idempotency(operation: dict[str, Any]) -> None:
    schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": KEY.pattern}
    _add_header(operation, "Idempotency-Key", schema, DESCRIPTION)
    _add_problem(operation, "409", "La première requête sous cette Idempotency-Key est en cours")
    _add_problem(operation, "422", "Cette Idempotency-Key a servi à une autre requête")
    _add_problem(operation, "429", "Trop d'Idempotency-Key en 24 heures")


def _describe_tags(method: str, operation: dict[str, Any]) -> None:
    if method == "get":
        operation["responses"]["200"].setdefault("headers", {})["ETag"] = {
            "schema": {"type": "string"},
            "description": "La version lue, pour If-Match ; sans ce que le trafic change de lui-même",
        }
    elif method in CHANGED_BY:
        schema = {"type": "string", "maxLength": 1000}
        text = "L'ETag de la version lue : une autre entre-temps, et rien ne change (412)"
        _add_header(operation, "If-Match", schema, text)
        _add_problem(operation, "412", "L'objet a changé depuis cette version")


def _add_header(operation: dict[str, Any], name: str, schema: dict[str, Any], description: str) -> None:
    """Describe an optional header, once: FastAPI keeps the document, and gives the same one again."""
    parameters: list[dict[str, Any]] = operation.setdefault("parameters", [])
    if name not in {one["name"] for one in parameters}:
        parameters.append(
            {"name": name, "in": "header", "required": False, "schema": schema, "description": description}
        )


def _add_problem(operation: dict[str, Any], status: str, description: str) -> None:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    operation["responses"].setdefault(
        status, {"description": description, "content": {"application/json": {"schema": schema}}}
    )


def serve_reference(app: FastAPI, lists: Sequence[APIRoute]) -> None:
    """Serve the page and its assets; `lists` are the routes that list."""
    app.openapi = partial(_document, app, lists)
    app.include_router(router)
    app.mount("/docs/assets", StaticFiles(directory=ASSETS), name="assets")
