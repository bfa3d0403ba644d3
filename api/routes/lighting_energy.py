"""What the meters of cabinets have counted, against what their programs should have drawn."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from pydantic import Field

from api.auth import Caller, Reader
from api.consumption_store import CALENDAR, Consumed, read_consumed
from api.extent import Commune
from api.fields import Answer, Id
from api.lighting_figures import CIRCUITS, PROGRAM_SINCE
from api.pages import Page, Paged, page_of
from api.routes.assets import ASSETS
from api.routes.trades import GapSpan
from core.runtime.http.errors import PROBLEM_RESPONSES
from core.runtime.postgres import Connection
from lighting import program_store as store
from lighting.energy import expected_kwh
from lighting.expected import LampRow, read_lamps

router = APIRouter(prefix="/v1/lighting", tags=["lighting"], responses=PROBLEM_RESPONSES)

# Indexes by tariff add up; those of a phase, and what goes back to the network, do not.
BY_TARIFF = "index"
INDEXES = """
SELECT id, asset_id, channel FROM datastream
WHERE asset_id = ANY($1::int[]) AND quantity = 'active_energy_import' ORDER BY id
"""


class Compared(Answer):
    """Ce qui a été compté sur une durée, et ce que le programme devait consommer."""

    since: datetime
    until: datetime
    measured_kwh: float | None = Field(description="Null : rien ne le dit ; sans ce qu'une lacune a consommé")
    expected_kwh: float | None = Field(
        description="Par le programme ; null : sans puissance nominale ni position, ou s'il a changé entre-temps"
    )
    percent: float | None = Field(description="Mesuré sur attendu ; null aussi où une lacune touche la durée")


class EnergyAnswer(Answer):
    """La consommation d'une armoire ou d'un circuit face à son programme."""

    asset_id: int
    name: str
    commune: str
    yesterday: Compared
    last_week: Compared
    gaps: list[GapSpan] = Field(description="Consommé pendant des lacunes, en kWh, hors des autres chiffres")


@router.get("/cabinets/{id}/energy", operation_id="getCabinetEnergy", summary="Lire la consommation d'une armoire")
async def read_energy(id: Id, caller: Reader) -> EnergyAnswer:
    """Ce que le compteur d'une armoire ou d'un circuit a compté hier et la semaine passée, face à son programme.

    Retour à zéro, tour de compteur et compteur remplacé sont comptés comme partout ; une lacune est dite à part.
    """
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        [found] = await _energies(caller, connection, [store.Lit(asset.id, asset.name, asset.commune, {})])
    return found


@router.get("/reports/energy", summary="Comparer la consommation aux programmes")
async def report_energy(caller: Reader, paging: Paged, commune: Commune = None) -> Page[EnergyAnswer]:
    """Chaque armoire : ce qu'elle a consommé hier et la semaine passée, et ce que son programme demandait."""
    async with caller.reading() as connection:
        found = await store.list_lit(connection, commune=commune, after=paging.after, most=paging.most)
        energies = await _energies(caller, connection, found[: paging.limit])
    following = page_of(found, paging.limit, lambda one: one).next
    return Page(items=energies, next=following)


@dataclass(frozen=True, slots=True)
class _Spans:
    yesterday: tuple[datetime, datetime]
    last_week: tuple[datetime, datetime]


async def _energies(caller: Caller, connection: Connection, assets: Sequence[store.Lit]) -> list[EnergyAnswer]:
    ids = [one.id for one in assets]
    indexes = await connection.fetch(INDEXES, ids)
    streams = [row["id"] for row in indexes]
    await caller.audit_personal(connection, streams=streams)
    consumed = await read_consumed(connection, streams) if streams else {}
    row = await connection.fetchrow(CALENDAR)
    assert row is not None  # noqa: S101 - The first migration wrote it.
    spans = _Spans((row["yesterday"], row["today"]), (row["last_week"], row["week"]))
    circuits = await connection.fetch(CIRCUITS, ids)
    lamps = await read_lamps(connection, ids + [one["id"] for one in circuits])
    since = {one["id"]: one["at"] for one in await connection.fetch(PROGRAM_SINCE, ids)}
    below: dict[int, list[LampRow]] = {}
    for one in circuits:
        if one["id"] in lamps:
            below.setdefault(one["parent_id"], []).append(lamps[one["id"]])
    channels: dict[int, dict[str, Consumed]] = {}
    for index in indexes:
        if index["id"] in consumed:
            channels.setdefault(index["asset_id"], {})[index["channel"]] = consumed[index["id"]]
    return await asyncio.to_thread(
        lambda: [
            _energy(
                one,
                channels.get(one.id, {}),
                _lamps(lamps[one.id], below.get(one.id, [])),
                since.get(one.id),
                spans,
            )
            for one in assets
        ]
    )


def _lamps(own: LampRow, circuits: Sequence[LampRow]) -> Sequence[LampRow]:
    """The circuits where each says what it draws, else the whole."""
    return circuits if circuits and all(one.rated_power_w is not None for one in circuits) else [own]


def _energy(
    asset: store.Lit,
    channels: Mapping[str, Consumed],
    lamps: Sequence[LampRow],
    program_since: datetime | None,
    spans: _Spans,
) -> EnergyAnswer:
    whole = channels.get("")
    counted = (
        [whole] if whole is not None else [one for name, one in channels.items() if name.startswith(BY_TARIFF)]
    )
    gaps = [gap for one in counted for gap in one.gaps]

    def compared(span: tuple[datetime, datetime], measured: Sequence[float | None], *, is_whole: bool) -> Compared:
        known = [value for value in measured if value is not None]
        kwh = sum(known) / 1000 if known and len(known) == len(measured) else None
        is_same = program_since is None or program_since <= span[0]
        should = expected_kwh([(one.lamps, one.place) for one in lamps], *span) if is_same else None
        percent = 100 * kwh / should if kwh is not None and should and is_whole else None
        return Compared(since=span[0], until=span[1], measured_kwh=kwh, expected_kwh=should, percent=percent)

    return EnergyAnswer(
        asset_id=asset.id,
        name=asset.name,
        commune=asset.commune,
        yesterday=compared(
            spans.yesterday,
            [one.yesterday for one in counted],
            is_whole=all(one.yesterday_is_whole for one in counted),
        ),
        last_week=compared(
            spans.last_week,
            [one.last_week for one in counted],
            is_whole=not any(gap.since < spans.last_week[1] for gap in gaps),
        ),
        gaps=[GapSpan(since=gap.since, until=gap.until, amount=gap.amount / 1000) for gap in gaps],
    )
