"""Devices that come from another LNS with their keys and sessions."""

from collections import Counter
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Change, Manager
from api.fields import Answer, Body, DevAddrHex, Eui, IdRef, Key, Name, example, key_octets
from api.routes.lns_sources import SOURCES
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry.imports import Imported, ImportedDevice, ImportedSession, Outcome, import_device

MOST_DEVICES = 1000
NO_JOIN_EUI = "0" * 16
COUNTER_MOST = 2**32 - 1
JOIN_NONCE_MOST = 2**24 - 1

router = APIRouter(prefix="/v1", tags=["devices"], responses=PROBLEM_RESPONSES)

Counted = Annotated[int, Field(ge=0, le=COUNTER_MOST)]


class SessionBody(Body):
    """Une session qui continue ici. Les compteurs nomment la trame suivante."""

    model_config = example(
        {
            "dev_addr": "01ab23cd",
            "nwk_s_key": "000102030405060708090a0b0c0d0e0f",
            "app_s_key": "101112131415161718191a1b1c1d1e1f",
            "f_cnt_up": 1841,
            "f_cnt_down": 17,
        }
    )

    dev_addr: DevAddrHex
    nwk_s_key: Key
    app_s_key: Key
    f_cnt_up: Counted = Field(0, description="Prochain FCntUp attendu")
    f_cnt_down: Counted = Field(
        0, description="Prochain FCntDown à utiliser ; dans le doute, plus haut : le capteur refuse ce qu'il a vu"
    )
    rx1_delay: int = Field(1, ge=1, le=15, description="Secondes ; The Things Stack : 5 d'ordinaire")
    rx1_dr_offset: int = Field(0, ge=0, le=5)
    rx2_data_rate: int = Field(0, ge=0, le=5, description="DR de RX2 ; The Things Stack : 3 d'ordinaire")
    rx2_frequency: int = Field(869_525_000, ge=863_000_000, le=870_000_000, description="Hz")

    def read(self) -> ImportedSession:
        """As the registry takes it."""
        octets: dict[str, Any] = {
            "dev_addr": bytes.fromhex(self.dev_addr),
            "nwk_s_key": key_octets(self.nwk_s_key),
            "app_s_key": key_octets(self.app_s_key),
        }
        return ImportedSession(**dict(self) | octets)


class ImportedDeviceBody(Body):
    """Un capteur tel que l'autre LNS le connaît : sa clé racine (OTAA), sa session, ou les deux."""

    model_config = example(
        {
            "dev_eui": "70b3d57ed0001234",
            "join_eui": "70b3d57ed0001000",
            "device_profile_id": 42,
            "app_key": "000102030405060708090a0b0c0d0e0f",
        }
    )

    dev_eui: Eui
    join_eui: Eui | None = Field(None, examples=["70b3d57ed0001000"])
    name: Name | None = Field(None, description="Absent : le DevEUI")
    device_profile_id: IdRef = Field(
        description="Le profil de ce modèle ; un capteur déjà enregistré garde le sien"
    )
    app_key: Key | None = Field(None, description="AppKey ; chez ChirpStack, pour LoRaWAN 1.0.x : son « nwkKey »")
    join_nonce: Annotated[int, Field(ge=0, le=JOIN_NONCE_MOST)] | None = Field(
        None, description="Le dernier JoinNonce donné : un capteur 1.0.4 en refuse un plus petit"
    )
    session: SessionBody | None = None
    lns_source_id: IdRef | None = Field(
        None, description="La source dont le LNS lui parle encore ; absente : rien ne change"
    )

    @model_validator(mode="after")
    def _has_a_join_eui_with_its_key(self) -> Self:
        if self.app_key is not None and self.join_eui is None:
            raise PydanticCustomError("join_eui", "join_eui manque : il va avec app_key")
        return self

    def read(self) -> ImportedDevice:
        """As the registry takes it."""
        session = self.session
        return ImportedDevice(
            bytes.fromhex(self.dev_eui),
            bytes.fromhex(self.join_eui or NO_JOIN_EUI),
            self.name or self.dev_eui,
            self.device_profile_id,
            None if self.app_key is None else key_octets(self.app_key),
            self.join_nonce,
            None if session is None else session.read(),
            self.lns_source_id,
        )


class NewImport(Body):
    """Des capteurs à reprendre d'un autre LNS."""

    model_config = example(
        {
            "dry_run": True,
            "devices": [
                {
                    "dev_eui": "70b3d57ed0001234",
                    "join_eui": "70b3d57ed0001000",
                    "name": "EM400 n° 12",
                    "device_profile_id": 42,
                    "app_key": "000102030405060708090a0b0c0d0e0f",
                }
            ],
        }
    )

    devices: list[ImportedDeviceBody] = Field(min_length=1, max_length=MOST_DEVICES)
    dry_run: bool = Field(False, description="true : tout vérifier et tout dire, ne rien écrire")


class ImportedAnswer(Answer):
    """Ce qu'est devenu un capteur."""

    dev_eui: Eui
    outcome: Literal["created", "updated", "unchanged", "refused"]
    detail: str = Field(examples=["enregistré, clé racine"])


class ImportAnswer(Answer):
    """Le bilan d'une reprise."""

    dry_run: bool
    created: int
    updated: int
    unchanged: int
    refused: int
    devices: list[ImportedAnswer]


@router.post("/device-imports", summary="Reprendre des capteurs d'un autre LNS")
async def import_devices(body: NewImport, caller: Manager) -> ImportAnswer:
    """Reprendre des capteurs avec leur clé racine et, pour qu'ils continuent sans se réactiver, leur session.

    La même reprise une seconde fois ne change rien, un compteur ne recule jamais, et un capteur refusé n'arrête
    pas les autres. `dry_run` fait tout, puis défait tout.
    """
    keys = caller.platform.keys
    async with caller.changing() as change:
        await _check_sources(change, body)
        trying = change.connection.transaction()
        await trying.start()
        imported = [
            await import_device(change.connection, keys, change.tenant_id, one.read()) for one in body.devices
        ]
        if body.dry_run:
            await trying.rollback()
        else:
            await trying.commit()
            await change.audit("import", "device", "lns", after=_noted(body, imported))
    counts = Counter(str(done.outcome) for done in imported)
    return ImportAnswer(
        dry_run=body.dry_run,
        **{str(outcome): counts[str(outcome)] for outcome in Outcome},
        devices=[
            ImportedAnswer(dev_eui=one.dev_eui, outcome=done.outcome.value, detail=done.french)
            for one, done in zip(body.devices, imported, strict=True)
        ],
    )


async def _check_sources(change: Change, body: NewImport) -> None:
    for source_id in {one.lns_source_id for one in body.devices if one.lns_source_id is not None}:
        await SOURCES.get(change.connection, source_id)


def _noted(body: NewImport, imported: list[Imported]) -> dict[str, Any]:
    """For the audit: what was done to which device, without its keys."""
    noted: dict[str, list[str]] = {}
    for one, done in zip(body.devices, imported, strict=True):
        noted.setdefault(str(done.outcome), []).append(one.dev_eui)
    return noted
