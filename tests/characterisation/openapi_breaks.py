"""What of a new OpenAPI document breaks software that was written for an old one; additions break nothing.

Of requests, all that was accepted must still be; of answers, all that is said must still be read as before.
Readers ignore fields that they do not know, and take values of an enumeration that they do not know for "another".
"""

from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]
METHODS = ("get", "put", "post", "patch", "delete")
MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")


def breaks(was: Schema, now: Schema) -> list[str]:
    """Every place that breaks, with how."""
    return [*dict.fromkeys(_Comparison(was, now).operations())]


class _Comparison:
    def __init__(self, was: Schema, now: Schema) -> None:
        self.was, self.now = was, now
        # Of two named schemas, so that circles end; while one is compared it breaks nothing.
        self._known = dict[tuple[str, str, str], list[str]]()

    def operations(self) -> Iterator[str]:
        for path, methods in self.was["paths"].items():
            for method in METHODS:
                if method not in methods:
                    continue
                place = f"{method} {path}"
                operation = self.now["paths"].get(path, {}).get(method)
                if operation is None:
                    yield f"{place}: gone"
                else:
                    yield from self._operation(methods[method], operation, place)

    def _operation(self, was: Schema, now: Schema, place: str) -> Iterator[str]:
        for name in ("operationId", "tags"):
            if was.get(name) != now.get(name):
                yield f"{place}: {name} changed, after which clients are named"
        yield from self._parameters(was.get("parameters", []), now.get("parameters", []), place)
        yield from self._request(was.get("requestBody"), now.get("requestBody"), place)
        for status, answer in was["responses"].items():
            if status not in now["responses"]:
                yield f"{place}: answer {status} gone"
                continue
            for media_type, content in answer.get("content", {}).items():
                known = now["responses"][status].get("content", {}).get(media_type)
                if known is None:
                    yield f"{place}: answer {status} is no {media_type}"
                else:
                    yield from self._answer(
                        content.get("schema", {}), known.get("schema", {}), f"{place} {status}"
                    )

    def _parameters(self, was: list[Schema], now: list[Schema], place: str) -> Iterator[str]:
        former = {(one["in"], one["name"]): one for one in was}
        current = {(one["in"], one["name"]): one for one in now}
        for key, one in former.items():
            if key not in current:
                yield f"{place}: parameter {key[1]} gone"
                continue
            if current[key].get("required") and not one.get("required"):
                yield f"{place}: parameter {key[1]} is required now"
            yield from self._accepted(one["schema"], current[key]["schema"], f"{place} ?{key[1]}")
        for key, one in current.items():
            if key not in former and one.get("required"):
                yield f"{place}: parameter {key[1]} is new and required"

    def _request(self, was: Schema | None, now: Schema | None, place: str) -> Iterator[str]:
        if was is None:
            if now is not None and now.get("required"):
                yield f"{place}: a body is required now"
            return
        for media_type, content in was["content"].items():
            known = (now or {"content": {}})["content"].get(media_type)
            if known is None:
                yield f"{place}: no body of {media_type} is taken"
            else:
                yield from self._accepted(content["schema"], known["schema"], f"{place} body")

    def _accepted(self, was: Schema, now: Schema, place: str) -> Iterator[str]:
        """What was accepted and is not any more."""
        options = self._options(self.now, now)
        for option in self._options(self.was, was):
            yield from _least([self._once(self._accepted_one, option, other, place) for other in options])

    def _accepted_one(self, was: Schema, now: Schema, place: str) -> Iterator[str]:
        was, now = self._resolved(self.was, was), self._resolved(self.now, now)
        if not _types(was) <= _types(now):
            yield f"{place}: takes {sorted(_types(now))} instead of {sorted(_types(was))}"
            return
        values, taken = _values(was), _values(now)
        if taken is not None and (values is None or not values <= taken):
            yield f"{place}: takes fewer values"
        yield from (f"{place}: {name} is narrower" for name in (*MOST, *LEAST) if _is_narrower(name, was, now))
        others = [name for name in ("pattern", "format") if now.get(name) not in {None, was.get(name)}]
        yield from (f"{place}: another {name}" for name in others)
        for name, field in was.get("properties", {}).items():
            if name in now.get("properties", {}):
                yield from self._accepted(field, now["properties"][name], f"{place}.{name}")
            elif now.get("additionalProperties") is False:
                yield f"{place}.{name}: not taken any more"
        for name in set(now.get("required", ())) - set(was.get("required", ())):
            yield f"{place}.{name}: required now"
        for name in ("items", "additionalProperties"):
            if isinstance(was.get(name), dict) and isinstance(now.get(name), dict):
                yield from self._accepted(was[name], now[name], f"{place}[]")

    def _answer(self, was: Schema, now: Schema, place: str) -> Iterator[str]:
        """What an answer says that a reader of before does not understand."""
        options = self._options(self.was, was)
        for option in self._options(self.now, now):
            yield from _least([self._once(self._answer_one, other, option, place) for other in options])

    def _answer_one(self, was: Schema, now: Schema, place: str) -> Iterator[str]:
        was, now = self._resolved(self.was, was), self._resolved(self.now, now)
        if not _types(now) <= _types(was):
            yield f"{place}: is {sorted(_types(now))} instead of {sorted(_types(was))}"
            return
        values, said = _values(was), _values(now)
        if values is not None and (said is None or not values <= said):
            yield f"{place}: a value is gone"
        if was.get("format") != now.get("format"):
            yield f"{place}: another format"
        for name, field in was.get("properties", {}).items():
            if name not in now.get("properties", {}):
                yield f"{place}.{name}: gone"
            else:
                yield from self._answer(field, now["properties"][name], f"{place}.{name}")
        for name in set(was.get("required", ())) - set(now.get("required", ())):
            if name in now.get("properties", {}):
                yield f"{place}.{name}: may be absent now"
        for name in ("items", "additionalProperties"):
            if isinstance(was.get(name), dict) and isinstance(now.get(name), dict):
                yield from self._answer(was[name], now[name], f"{place}[]")

    def _once(
        self, compared: Callable[[Schema, Schema, str], Iterator[str]], was: Schema, now: Schema, place: str
    ) -> list[str]:
        key = (compared.__name__, was.get("$ref", ""), now.get("$ref", ""))
        if not key[1] or not key[2]:
            return [*compared(was, now, place)]
        if key not in self._known:
            self._known[key] = []
            self._known[key] = [*compared(was, now, place)]
        return self._known[key]

    def _options(self, document: Schema, schema: Schema) -> list[Schema]:
        """The schema, or those of which it is one."""
        resolved = self._resolved(document, schema)
        return resolved.get("anyOf") or resolved.get("oneOf") or [schema]

    @staticmethod
    def _resolved(document: Schema, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema


def _types(schema: Schema) -> set[str]:
    """What JSON has; a client that takes numbers takes integers."""
    given = schema.get("type")
    if given is None:
        values = _values(schema)
        return {"string"} if values and all(isinstance(one, str) for one in values) else set(ANYTHING)
    types = {given} if isinstance(given, str) else set(given)
    return types | {"integer"} if "number" in types else types


ANYTHING = ("string", "number", "integer", "boolean", "object", "array", "null")


def _values(schema: Schema) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None


def _least(found: list[list[str]]) -> list[str]:
    """Of several ways to read it, the one that breaks the least."""
    return min(found, key=len, default=[])


def _is_narrower(name: str, was: Schema, now: Schema) -> bool:
    if name not in now:
        return False
    return name not in was or (now[name] < was[name] if name in MOST else now[name] > was[name])
