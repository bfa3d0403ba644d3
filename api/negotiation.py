"""Every list answers as JSON, CSV or GeoJSON, and says where its next page is (docs/api.md, "Formats")."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.list_formats import CSV, GEOJSON, JSON, as_csv, as_geojson, chosen_format, columns_of
from api.pages import Page

OK = 200
CURSOR = "cursor"
# Of the address of a list that a browser follows.
ENDING = ".csv"


class _Whole(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None = None


class _Next(msgspec.Struct):
    """What the other formats need no items of."""

    next: str | None = None


WHOLE, NEXT = msgspec.json.Decoder(_Whole), msgspec.json.Decoder(_Next)


def item_of(route: object) -> type[Any] | None:
    """The model of the items of a route that lists; None for any other."""
    if not isinstance(route, APIRoute) or "GET" not in (route.methods or ()):
        return None
    model = route.response_model
    if not (isinstance(model, type) and issubclass(model, Page)):
        return None
    return model.model_fields["items"].annotation.__args__[0]  # type: ignore[union-attr]  # list[Item]


class ListFormatsMiddleware:
    """The innermost: it sees what a route has answered, before anything is compressed."""

    def __init__(self, app: ASGIApp, lists: Iterable[APIRoute] = ()) -> None:
        self._app = app
        self._lists = [one.path_regex for one in lists]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            send = _Negotiated(scope, send, self._cut_ending(scope)).send
        await self._app(scope, receive, send)

    def _cut_ending(self, scope: Scope) -> str:
        """`.csv` of an address of a list: a link of a page sends no Accept. The router sees it without."""
        path = scope["path"].removesuffix(ENDING)
        if path == scope["path"] or not any(one.fullmatch(path) for one in self._lists):
            return ""
        scope["path"], scope["raw_path"] = path, path.encode()
        return ENDING


class _Negotiated:
    """Holds the answer of a list, and sends it as it is wanted; anything else goes through."""

    def __init__(self, scope: Scope, send: Send, ending: str = "") -> None:
        self._scope = scope
        self._send = send
        self._ending = ending
        self._start: Message | None = None
        self._item: type[Any] | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._is_list(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_list(self._start)

    def _is_list(self, start: Message) -> bool:
        if start["status"] != OK or not Headers(raw=start["headers"]).get("content-type", "").startswith(JSON):
            return False
        self._item = item_of(self._scope.get("route"))  # Known since the router has found it.
        return self._item is not None

    async def _send_list(self, start: Message) -> None:
        headers = MutableHeaders(raw=list(start["headers"]))
        headers.add_vary_header("Accept")
        wanted = CSV if self._ending else chosen_format(Headers(scope=self._scope).get("accept"))
        body = bytes(self._body)
        if wanted == JSON:
            following = NEXT.decode(body).next
        else:
            page = WHOLE.decode(body)
            following = page.next
            assert self._item is not None  # noqa: S101 - Or nothing is held.
            body = (
                as_geojson(page.items)
                if wanted == GEOJSON
                else as_csv(page.items, columns_of(self._item)).encode()
            )
            headers["content-type"] = f"{CSV}; charset=utf-8; header=present" if wanted == CSV else GEOJSON
            headers["content-length"] = str(len(body))
        if self._ending:
            name = self._scope["path"].rpartition("/")[2]
            headers["content-disposition"] = f'attachment; filename="{name}{ENDING}"'
        if following is not None:
            headers["link"] = f'<{self._address(following)}>; rel="next"'
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})

    def _address(self, following: str) -> str:
        asked = parse_qsl(self._scope["query_string"].decode("latin-1"), keep_blank_values=True)
        kept = [(name, value) for name, value in asked if name != CURSOR]
        return f"{self._scope['path']}{self._ending}?{urlencode([*kept, (CURSOR, following)])}"


def lists_of(routers: Iterable[APIRouter]) -> list[APIRoute]:
    """The routes that list."""
    every = (route for router in routers for route in router.routes)
    return [route for route in every if isinstance(route, APIRoute) and item_of(route) is not None]


def describe_formats(document: dict[str, Any], lists: Iterable[APIRoute]) -> None:
    """Say in the OpenAPI document as what each list answers."""
    for route in lists:
        answer = document["paths"][route.path]["get"]["responses"]["200"]
        answer["content"][CSV] = {"schema": {"type": "string"}}
        answer["content"][GEOJSON] = {"schema": {"$ref": "#/components/schemas/FeatureCollection"}}
        answer["headers"] = answer.get("headers", {}) | {
            "Link": {
                "description": 'Adresse de la page suivante, `rel="next"` ; absent : c\'est tout',
                "schema": {"type": "string"},
            }
        }
    document["components"]["schemas"]["FeatureCollection"] = FEATURE_COLLECTION


FEATURE_COLLECTION: dict[str, Any] = {
    "title": "FeatureCollection",
    "description": "Une page d'une liste en GeoJSON (RFC 7946) : ce qui n'a pas de place a une géométrie null",
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "geometry": {
                        "anyOf": [
                            {
                                "type": "object",
                                "properties": {
                                    "type": {"const": "Point"},
                                    "coordinates": {"type": "array", "items": {"type": "number"}},
                                },
                            },
                            {"type": "null"},
                        ]
                    },
                    "properties": {"type": "object", "description": "Les champs de l'élément, sans sa place"},
                },
            },
        },
    },
}
