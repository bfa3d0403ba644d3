"""The bench: a codec is pasted, tried on frames, its fields are mapped, and it is published."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Query, Response

from api.codec_check import check_source
from api.codec_fields import LONGEST_SOURCE
from api.console.forms import checked, errors_by_field, number_of
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, values_of
from api.console.workshop.mapping import ROWS_MOST, rows_of, rules_of, typed_rows
from api.fields import INT4_MOST
from api.pages import Paging
from api.routes import codec_lab, codecs, device_profiles, profile_decoding
from api.routes.codec_lab import CodecTrialAnswer, Trial
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import Problem, invalid

router = page_router()

PAGE = "/atelier/essai"
INVALID, CONFLICT = 422, 409
FRAME = re.compile(r"(\d{1,3})\s*[:;, ]\s*((?:[0-9a-fA-F]{2}\s*)+)")
AT_LINE = re.compile(r"ligne (\d+)")
MOST = 1000
Number = Annotated[int | None, Query(ge=1, le=INT4_MOST)]


@dataclass(frozen=True, slots=True)
class WrongLine:
    """The line of a script at which it fails."""

    number: int
    text: str


@router.get(PAGE)
async def show(
    visit: ManagersVisit,
    version: Number = None,
    profil: Number = None,
    capteur: Annotated[str, Query(max_length=23, pattern="^[0-9a-fA-F:. -]*$")] = "",
) -> Response:
    """The bench, empty or with a version that is published, and the mapping of a profile."""
    values: dict[str, Any] = {"dev_eui": capteur, "last": "20", "language": "javascript"}
    rules: list[dict[str, Any]] = []
    if version is not None:
        known: Any = await codecs.read_one_version(version, visit.caller)
        values |= {"source": known.source, "language": known.language, "name": known.name}
    if profil is not None:
        rules = (await profile_decoding.read_decoding(profil, visit.caller)).mapping
        values |= {"use": str(profil)}
    return await _page(visit, values, rules)


@router.post(PAGE)
async def act(visit: ManagersVisit) -> Response:
    """Try what was pasted, or publish it."""
    rules: list[dict[str, Any]] = []
    try:
        rules = rules_of(visit.form)
        if visit.form.text("act") == "publish":
            return await _publish(visit, rules)
        answer = await codec_lab.try_it(_to_try(visit, rules), visit.caller)
    except Problem as problem:
        if problem.status not in {INVALID, CONFLICT}:
            raise
        return await _page(visit, dict(values_of(visit.form)), rules, problem=problem)
    return await _page(visit, dict(values_of(visit.form)), answer.mapping, tried=answer)


def source_of(visit: PersonsVisit) -> str:
    """What was pasted, with the ends of lines that codecs have; a browser sends others."""
    return visit.form.text("source").replace("\r\n", "\n")


def _to_try(visit: PersonsVisit, rules: list[dict[str, Any]]) -> Trial:
    form = visit.form
    given: dict[str, Any] = {
        "language": form.text("language") or "javascript",
        "source": source_of(visit),
        "frames": _frames(visit, form.text("frames")),
        "last": form.text("last") or "20",
    }
    if form.text("dev_eui"):
        given["dev_eui"] = form.text("dev_eui")
    if rules:
        given["mapping"] = rules
    if not given["source"]:
        raise invalid("source", "missing", visit.gettext("Collez d’abord un script ou une table."))
    if not given["frames"] and "dev_eui" not in given:
        raise invalid("frames", "missing", visit.gettext("Donnez un capteur, ou au moins une trame."))
    return checked(Trial, given)


def _frames(visit: PersonsVisit, text: str) -> list[dict[str, Any]]:
    """One frame a line: port, colon, octets."""
    frames: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = FRAME.fullmatch(line.strip())
        if found is None:
            said = visit.gettext("ligne %d : port, deux-points, octets en hexadécimal ; par exemple 2:06D600EB")
            raise invalid("frames", "frame", said % number)
        frames.append({"f_port": int(found[1]), "payload": "".join(found[2].split())})
    return frames


async def _page(
    visit: PersonsVisit,
    values: dict[str, Any],
    rules: list[dict[str, Any]],
    *,
    problem: Problem | None = None,
    tried: CodecTrialAnswer | None = None,
) -> Response:
    shown = rows_of(rules) if len(rules) <= ROWS_MOST else []
    rules_text = "" if shown else json.dumps(rules, ensure_ascii=False, indent=1)
    if problem is not None:
        shown, rules_text = typed_rows(visit.form), visit.form.text("rules")
    profiles = (await device_profiles.list_device_profiles(visit.caller, Paging(MOST))).items
    return visit.form_page(
        "workshop/bench.html",
        problem,
        values=values,
        wrong_line=_wrong_line(problem, str(values.get("source", ""))),
        tried=tried,
        outputs=[] if tried is None else [_pretty(frame.output) for frame in tried.frames],
        rows=shown,
        rules_text=rules_text,
        profiles=profiles,
        quantities=QUANTITIES,
        longest=LONGEST_SOURCE,
    )


def _pretty(output: Any) -> str:
    return "" if output is None else json.dumps(output, ensure_ascii=False, indent=1)


def _wrong_line(problem: Problem | None, source: str) -> WrongLine | None:
    """The line that an error of the source names."""
    error = errors_by_field(problem).get("source")
    found = None if error is None else AT_LINE.search(error.message)
    lines = source.splitlines()
    if found is None or not lines:
        return None
    number = min(max(1, int(found[1])), len(lines))  # A text that is cut off fails behind its last line.
    return WrongLine(number, lines[number - 1][:200])


async def _publish(visit: PersonsVisit, rules: list[dict[str, Any]]) -> Response:
    """A new version of a codec that is new or the tenant's own; then beside a profile's, or for a new profile."""
    form, caller = visit.form, visit.caller
    version = checked(
        codecs.NewCodecVersion,
        {"language": form.text("language"), "source": source_of(visit), "note": form.text("note")},
    )
    # First, for a codec is not made for a text that does not load.
    await check_source(caller.platform.codec_workers, version.language, version.source, version.form)
    new = form.of(codecs.NewCodec, ("name", "vendor", "model"))
    profile = _new_profile(visit, rules) if form.text("use") == "new" else None
    found: list[Any] = [*(await codecs.list_all(caller, Paging(MOST), q=new.name)).items]
    own = [one.id for one in found if one.name == new.name and one.tenant_id == visit.tenant.id]
    created: Any = None if own else await codecs.create(new, caller)
    codec_id: int = own[0] if own else created.id
    published: Any = await codecs.publish(codec_id, version, caller)
    said = visit.gettext("publiée") if published.is_new else visit.gettext("déjà publiée, telle quelle")
    message = f"{published.name} v{published.version} : {said}."
    if profile is not None:
        named = profile | {"codec_version_id": published.id}
        created = await device_profiles.create_device_profile(
            checked(device_profiles.NewDeviceProfile, named), caller
        )
        return visit.go(f"/atelier/profils/{created.id}", message)
    profile_id = number_of(form.text("use"))
    if profile_id is not None:
        shadow = checked(profile_decoding.NewShadow, {"codec_version_id": published.id})
        await profile_decoding.set_shadow(profile_id, shadow, caller)
        return visit.go(f"/atelier/profils/{profile_id}", message)
    return visit.go(f"/atelier/decodeurs/{codec_id}", message)


def _new_profile(visit: PersonsVisit, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """What is said of a new profile; checked before anything is written."""
    form = visit.form
    given = {
        "name": form.text("profile_name"),
        "vendor": form.text("vendor"),
        "model": form.text("model"),
        "mapping": rules,
        "expected_interval_s": 60 * _minutes(form.text("interval")),
    }
    for name in ("profile_name", "vendor", "model"):
        if not form.text(name):
            raise invalid(name, "missing", visit.gettext("Un nouveau profil le demande."))
    return cast("dict[str, Any]", given)


def _minutes(text: str) -> float:
    try:
        minutes = float(text.replace(",", "."))
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= device_profiles.LONGEST_INTERVAL_S / 60:
        raise invalid("interval", "range", "un nombre de minutes, 32 jours au plus")
    return minutes
