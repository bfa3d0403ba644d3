"""Which version of an object somebody has read: two people who edit one do not overwrite each other.

A form carries the object's ETag, the same as the API's own, in a hidden field.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel

from api.console.visits import PersonsVisit
from api.entity_tags import tag_of
from api.forbidden import record_stale
from core.runtime.http.errors import Problem

VERSION_FIELD = "version"
CHANGED = 412

Shown = TypeVar("Shown", bound=BaseModel)
Done = TypeVar("Done")


def version_of(shown: BaseModel) -> str:
    """The ETag that a reading of the object by the API has, without its quotes."""
    return (tag_of(shown.model_dump_json().encode()) or "").strip('"')


async def change_as_read(
    visit: PersonsVisit,
    path: str,
    read: Callable[[], Awaitable[Shown]],
    change: Callable[[], Awaitable[Done]],
    changed: str = "",
) -> Done:
    """What `change` does, if the object is as the form shows it; raises 412 when it has changed since.

    `path`: of the object in the API, which takes turns with programs that send If-Match. `changed`: what is said
    then, where there is more to say.
    """
    async with visit.dependencies.turns.hold(visit.dependencies.pool, path) as is_held:
        if not is_held or version_of(await read()) != visit.form.text(VERSION_FIELD):
            await record_stale(visit.request)
            raise Problem(CHANGED, changed or visit.gettext("Quelqu’un d’autre a changé cela entre-temps."))
        return await change()
