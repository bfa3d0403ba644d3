"""The workshop of codecs: what reads which frames, what waits for a person, what no codec could read."""

from collections import Counter
from operator import attrgetter
from typing import Annotated, Any

from fastapi import Query, Response

from api.console.forms import checked, number_of
from api.console.pages import page_router
from api.console.visits import ManagersVisit, OperatorsVisit, PersonsVisit, ReadersVisit, values_of
from api.fields import INT4_MOST, Id
from api.pages import Paging
from api.routes import codecs, device_profiles, profile_mapping, redecodes
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/atelier"
MOST, FAILED_SHOWN, JOBS_SHOWN = 1000, 50, 10


@router.get(PAGE)
async def show(visit: ReadersVisit) -> Response:
    """Profiles, those first that wait for somebody; codecs, unread frames, and what is decoded anew."""
    caller = visit.caller
    profiles: list[Any] = [*(await device_profiles.list_device_profiles(caller, Paging(MOST))).items]
    revisions = (await profile_mapping.list_revisions(caller, Paging(MOST))).items
    to_confirm = Counter({one.device_profile_id: len(one.to_confirm) for one in revisions})
    differing = Counter({one.device_profile_id: len(one.differences) for one in revisions})
    failed = (await redecodes.failed_frames(caller, limit=FAILED_SHOWN)).items
    return visit.page(
        "workshop/overview.html",
        profiles=sorted(profiles, key=lambda one: (-to_confirm[one.id], -differing[one.id], one.name)),
        to_confirm=to_confirm,
        differing=differing,
        codecs=sorted((await codecs.list_all(caller, Paging(MOST))).items, key=attrgetter("name")),
        failed=failed,
        jobs=(await redecodes.list_all(caller, limit=JOBS_SHOWN)).items,
    )


@router.get(PAGE + "/decodeurs/{id}")
async def show_codec(
    id: Id,  # noqa: A002 - The path's word.
    visit: ReadersVisit,
    version: Annotated[int | None, Query(ge=1, le=INT4_MOST)] = None,
    avec: Annotated[int | None, Query(ge=1, le=INT4_MOST)] = None,
) -> Response:
    """One codec: its versions, the text of one, and what it changes to another."""
    codec = await codecs.read(id, visit.caller)
    versions: list[Any] = [*(await codecs.list_versions_of_codec(id, visit.caller)).items]
    ids = {one.id for one in versions}
    chosen = version if version in ids else (versions[0].id if versions else None)
    return visit.page(
        "workshop/codec.html",
        codec=codec,
        versions=versions,
        shown=None if chosen is None else await codecs.read_one_version(chosen, visit.caller),
        diff=await codecs.diff(chosen, visit.caller, avec) if chosen and avec in ids and avec else None,
        against=avec,
    )


@router.post(PAGE + "/decodeurs/{id}/reprise")
async def release(id: Id, visit: OperatorsVisit) -> Response:  # noqa: A002 - The path's word.
    """A version that was suspended is used again."""
    await codecs.release(number_of(visit.form.text("version")) or 0, visit.caller)
    return visit.go(
        f"{PAGE}/decodeurs/{id}", visit.gettext("La version sert de nouveau ; ses trames se relisent.")
    )


@router.post(PAGE + "/relectures")
async def decode_again(visit: ManagersVisit) -> Response:
    """Say what will be decoded again, ask once, and begin."""
    form = visit.form
    names = ("dev_eui", "device_profile_id", "codec_version_id", "since", "only_failed")
    given: dict[str, Any] = {name: form.text(name) for name in names if form.text(name)}
    if "since" in given:
        given["from"] = f"{given.pop('since')}T00:00:00Z"
    wanted = checked(redecodes.NewRedecode, given)
    if not form.text("confirm"):
        return visit.page("workshop/confirm_redecode.html", wanted=wanted, values=values_of(form))
    job: Any = await redecodes.request(wanted, visit.caller)
    return visit.go(f"{PAGE}/relectures/{job.id}")


@router.get(PAGE + "/relectures/{id}")
async def show_job(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """How far it is."""
    return await _job(visit, id, "workshop/job.html")


@router.get(PAGE + "/relectures/{id}/avancement")
async def show_progress(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """The progress alone, to be put in place of that of a while ago."""
    return await _job(visit, id, "workshop/progress.html")


async def _job(visit: PersonsVisit, job_id: int, template: str) -> Response:
    return visit.page(template, job=await redecodes.read(job_id, visit.caller))


@router.post(PAGE + "/relectures/{id}")
async def cancel_job(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What was replaced remains so; nothing else is."""
    try:
        await redecodes.cancel(id, visit.caller)
    except Problem as problem:
        if problem.status != 409:  # noqa: PLR2004 - It has ended meanwhile, which the page says.
            raise
    return visit.go(f"{PAGE}/relectures/{id}")
