"""Une année par mois à côté de la précédente, par le client Python généré : docs/usages.md dit comment.

S'exécute telle quelle (`python mesures.py`), ou cellule par cellule (`# %%`) dans un carnet. Sans pandas, elle
écrit du CSV.
"""

# %%
import asyncio
import csv
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from territoire_client import AuthenticatedClient
from territoire_client.api.measurements import list_measurement_series, list_readings
from territoire_client.models import ListMeasurementSeriesBucket, ListMeasurementSeriesCompareType0Item
from territoire_client.types import UNSET

# Les mois du territoire : celui de Paris commence à 23 h UTC en hiver.
CALENDAR = ZoneInfo("Europe/Paris")
COLUMNS = ("compteur", "grandeur", "unité", "mois", "valeur", "an dernier", "complétude")


# %%
async def months(client: AuthenticatedClient, quantity: str, year: int) -> list[dict[str, Any]]:
    """Chaque mois de chaque compteur, et le même mois de l'année d'avant."""
    answer = await list_measurement_series.asyncio(
        client=client,
        quantity=quantity,
        bucket=ListMeasurementSeriesBucket.MONTH,
        from_=datetime(year, 1, 1, tzinfo=UTC),
        to=datetime(year, 12, 31, tzinfo=UTC),
        compare=[ListMeasurementSeriesCompareType0Item.PREVIOUS_YEAR],
    )
    return [
        {
            "compteur": item.asset_name,
            "grandeur": item.quantity,
            "unité": item.unit,
            "mois": item.from_.astimezone(CALENDAR).strftime("%Y-%m"),
            "valeur": item.value,
            "an dernier": item.previous_year.value if item.previous_year else None,
            "complétude": item.completeness,
        }
        for item in answer.items
    ]


# %%
async def readings(client: AuthenticatedClient, quantity: str, since: datetime, until: datetime) -> list[Any]:
    """Toutes les mesures brutes d'une grandeur, page après page."""
    found: list[Any] = []
    cursor: Any = UNSET
    while True:
        page = await list_readings.asyncio(
            client=client, quantity=quantity, from_=since, to=until, limit=10_000, cursor=cursor
        )
        found += page.items
        if not page.next_:
            return found
        cursor = page.next_


# %%
def show(rows: Iterable[dict[str, Any]]) -> None:
    """Un tableau par compteur et par mois avec pandas ; du CSV sans lui."""
    try:
        import pandas as pd
    except ImportError:
        writer = csv.DictWriter(sys.stdout, COLUMNS, delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
        return
    frame = pd.DataFrame(rows)
    print(frame.pivot_table(index="compteur", columns="mois", values="valeur"))
    print(frame.groupby("compteur")[["valeur", "an dernier"]].sum())


# %%
if __name__ == "__main__":
    ADDRESS, KEY = os.environ["TERRITOIRE"], os.environ["CLE"]
    opened = AuthenticatedClient(base_url=ADDRESS, token=KEY)
    show(asyncio.run(months(opened, "water_volume", datetime.now(UTC).year)))
