"""A plain object of the registry in the API: listed, read, changed and removed in one way."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from fastapi import Response
from pydantic import BaseModel

from api.auth import Caller, Change
from api.pages import Page, Paging, page_of
from core.runtime.http.errors import Problem, not_found, read_only
from core.runtime.postgres import Connection


class Owned(Protocol):
    """What belongs to a tenant, or with None is offered to all."""

    @property
    def id(self) -> int:
        """Its number in the audit."""
        ...

    @property
    def tenant_id(self) -> int | None:
        """Whose it is."""
        ...


Row = TypeVar("Row")
OwnedRow = TypeVar("OwnedRow", bound=Owned)
Shown = TypeVar("Shown", bound=BaseModel)
Asked = ParamSpec("Asked")
Key = int | str


@dataclass(frozen=True, slots=True)
class Resource(Generic[Row, Shown]):
    """How an object is called in the audit and, in French, in errors; how it is found by its key, and shown.

    A route of one names its own right, path, texts and types; what it does is one call.
    """

    entity: str
    name: str
    find: Callable[[Connection, Any], Awaitable[Row | None]]
    show: Callable[[Row], Shown]
    asset_of: Callable[[Row], int | None] | None = None
    """The asset of which a row shows something, when that may be personal data: its readers are audited."""

    def missing(self, key: Key) -> Problem:
        """404, also for what belongs to another tenant."""
        return not_found(f"{self.name} {key}")

    async def rejection(self, connection: Connection, key: Key) -> Problem:
        """Why nothing was changed: there is none of this key (404), or it is visible only (403)."""
        row = await self.find(connection, key)
        return self.missing(key) if row is None else read_only(f"{self.name} {key}")

    async def get(self, connection: Connection, key: Key) -> Row:
        """The object of this path, or 404."""
        row = await self.find(connection, key)
        if row is None:
            raise self.missing(key)
        return row

    async def own(self: "Resource[OwnedRow, Shown]", change: Change, key: Key) -> OwnedRow:
        """The caller's own object of this path, or 404; 403 when it is visible only."""
        row = await self.get(change.connection, key)
        if row.tenant_id != change.tenant_id:
            raise read_only(f"{self.name} {key}")
        return row

    async def read(self, caller: Caller, key: Key) -> Shown:
        """One of them, or 404."""
        async with caller.reading() as connection:
            row = await self.get(connection, key)
            await self.audit_read(caller, connection, [row])
            return self.show(row)

    async def audit_read(self, caller: Caller, connection: Connection, rows: Sequence[Row]) -> None:
        """Record that these are shown to the caller, as far as they are personal data."""
        if self.asset_of is not None:
            found = {self.asset_of(row) for row in rows}
            await caller.audit_personal(connection, assets=sorted(id_ for id_ in found if id_ is not None))

    async def list(
        self,
        caller: Caller,
        rows: Callable[Concatenate[Connection, Asked], Awaitable[Sequence[Row]]],
        *args: Asked.args,
        **asked: Asked.kwargs,
    ) -> Page[Shown]:
        """All of them, or those that are asked for, in one page: they are few."""
        async with caller.reading() as connection:
            found = await rows(connection, *args, **asked)
            await self.audit_read(caller, connection, found)
        return Page(items=[self.show(row) for row in found], next=None)

    async def page(
        self,
        caller: Caller,
        paging: Paging,
        rows: Callable[Concatenate[Connection, Asked], Awaitable[Sequence[Row]]],
        *args: Asked.args,
        **asked: Asked.kwargs,
    ) -> Page[Shown]:
        """A page of those that are asked for: up to `paging.most`."""
        async with caller.reading() as connection:
            found = await rows(connection, *args, **asked)
            await self.audit_read(caller, connection, found[: paging.limit])
        return page_of(found, paging.limit, self.show)

    async def create(
        self: "Resource[OwnedRow, Shown]",
        caller: Caller,
        created: Callable[[Change], Awaitable[OwnedRow | None]],
        unknown: str = "",
    ) -> Shown:
        """Make one and audit it; 422 with the reason `unknown` when what it names is not there (None)."""
        async with caller.changing() as change:
            row = await created(change)
            if row is None:
                raise Problem(422, unknown)
            shown = self.show(row)
            await change.audit("create", self.entity, row.id, after=shown)
        return shown

    async def change(
        self,
        caller: Caller,
        key: Key,
        changed: Callable[[Connection, Any], Awaitable[Row | bool | None]],
        action: str = "update",
    ) -> Shown:
        """Change one and audit it; it is shown as `changed` returns it, or when that is True as it is read then.

        404 when there was none to change (None or False).
        """
        async with caller.changing() as change:
            former = await self.find(change.connection, key)
            row = await changed(change.connection, key)
            if row is None or row is False:
                raise self.missing(key)
            shown = self.show(await self.get(change.connection, key) if row is True else row)
            before = None if former is None else self.show(former)
            await change.audit(action, self.entity, str(key).lower(), before=before, after=shown)
            return shown

    async def switch(
        self, caller: Caller, key: Key, switched: Callable[..., Awaitable[Row | bool | None]], *, enabled: bool
    ) -> Shown:
        """Suspend one, or resume it: a change of `enabled` alone."""
        change = partial(switched, enabled=enabled)
        return await self.change(caller, key, change)

    async def delete(
        self,
        caller: Caller,
        key: Key,
        removed: Callable[[Connection, Any], Awaitable[bool]],
        action: str = "delete",
    ) -> Response:
        """Remove one and audit it; 404 when there was none."""
        async with caller.changing() as change:
            former = await self.find(change.connection, key)
            if not await removed(change.connection, key):
                raise self.missing(key)
            before = None if former is None else self.show(former)
            await change.audit(action, self.entity, str(key).lower(), before=before)
        return Response(status_code=204)
