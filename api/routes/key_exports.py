"""Keys that a tenant takes out (escrow, another operator): by a right of its own, encrypted for its recipient."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from api.auth import Caller, KeyExporter, Manager
from api.fields import Answer, Body, Eui, Id, IdRef, Name, answer_of, example
from api.pages import Page
from api.resources import Resource
from api.routes.device_imports import MOST_DEVICES
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from lorawan.crypto import WrongKek
from registry import key_recipients
from registry.imports import ExportedKeys, ImportedSession, count_own_devices, export_keys
from registry.key_recipients import KeyRecipient, RejectedPublicKey, check_public_key, encrypt_for
from registry.keys import KeyWrap, device_owner, session_owner
from registry.tenants import MalformedKey, authenticate

router = APIRouter(prefix="/v1", tags=["devices"], responses=PROBLEM_RESPONSES)


def _public_key(text: str) -> str:
    try:
        return check_public_key(text)
    except RejectedPublicKey:
        raise PydanticCustomError("public_key", "clé publique age attendue (age1…), de age-keygen") from None


class NewKeyExport(Body):
    """Des clés à sortir, pour un destinataire ; la clé d'API est présentée une seconde fois."""

    model_config = example(
        {
            "api_key": "terr_…",
            "recipient_id": 42,
            "reason": "Séquestre annuel",
            "dev_euis": ["70b3d57ed0001234"],
        }
    )

    recipient_id: IdRef = Field(description="À qui : une clé publique enregistrée par `/v1/key-recipients`")

    api_key: SecretStr = Field(
        SecretStr(""),
        max_length=200,
        json_schema_extra={"writeOnly": True, "examples": ["terr_…"]},
        description="La clé d'API de cette requête, encore une fois ; une personne confirme plutôt son mot de "
        "passe ou un code (`/v1/session/proof`)",
    )
    reason: Name = Field(description="Pourquoi ; consigné dans l'audit", examples=["Séquestre annuel"])
    dev_euis: Annotated[list[Eui], Field(min_length=1, max_length=MOST_DEVICES)] | None = Field(
        None, description="Absents : tous les capteurs de la collectivité"
    )


class ExportedSession(answer_of(ImportedSession)):
    """Une session, clés en clair."""

    dev_addr: str
    nwk_s_key: str
    app_s_key: str


class ExportedDevice(Answer):
    """Un capteur, clés en clair, dans la forme que la reprise accepte."""

    dev_eui: str
    join_eui: str
    name: str
    device_profile_id: int
    app_key: str | None
    join_nonce: int | None
    session: ExportedSession | None


class KeyExportContent(Answer):
    """Ce que le destinataire lit, une fois déchiffré : la forme que la reprise accepte."""

    devices: list[ExportedDevice]


class KeyExport(Answer):
    """Les clés demandées, chiffrées pour le destinataire ; sa clé privée seule les ouvre (`age -d -i cle.txt`)."""

    recipient: str = Field(examples=["Coffre du SDEF"])
    devices: int = Field(description="Combien de capteurs")
    file: str = Field(description="Un fichier age, en lettres", examples=["-----BEGIN AGE ENCRYPTED FILE-----…"])


class NewKeyRecipient(Body):
    """Une clé publique pour laquelle des clés pourront sortir."""

    model_config = example(
        {"name": "Coffre du SDEF", "public_key": "age1tj0dmg7v2qmuhsjdet58n33sn854y5zemqulvgl3gd5jhkuf8qusss6jhd"}
    )

    name: Name = Field(examples=["Coffre du SDEF"])
    public_key: Annotated[str, AfterValidator(_public_key)] = Field(
        description="Clé publique age (X25519), de `age-keygen`", examples=["age1…"]
    )


class KeyRecipientAnswer(answer_of(KeyRecipient, {"tenant_id"})):
    """Un destinataire, qui l'a enregistré, et quand."""


RECIPIENTS = Resource(
    "key_recipient", "destinataire", key_recipients.read_recipient, KeyRecipientAnswer.model_validate
)


@router.post(
    "/key-recipients",
    operation_id="createKeyRecipient",
    status_code=201,
    summary="Enregistrer un destinataire de clés",
)
async def create_recipient(body: NewKeyRecipient, caller: Manager) -> KeyRecipientAnswer:
    """Enregistrer une clé publique. Sa clé privée reste chez le destinataire : qui l'a lira les clés sorties."""
    async with caller.changing() as change:
        made = await key_recipients.create_recipient(
            change.connection, change.tenant_id, body.name, body.public_key, change.actor
        )
        shown = KeyRecipientAnswer.model_validate(made)
        await change.audit("create", "key_recipient", made.id, after=shown)
    return shown


@router.get("/key-recipients", operation_id="listKeyRecipients", summary="Lister les destinataires de clés")
async def list_recipients(caller: Manager) -> Page[KeyRecipientAnswer]:
    """Pour qui des clés peuvent sortir."""
    return await RECIPIENTS.list(caller, key_recipients.list_recipients)


@router.delete(
    "/key-recipients/{id}",
    operation_id="deleteKeyRecipient",
    status_code=204,
    summary="Retirer un destinataire de clés",
)
async def delete_recipient(id: Id, caller: Manager) -> Response:
    """Plus rien ne sort pour lui ; ce qu'il a reçu, il le lit encore."""
    return await RECIPIENTS.delete(caller, id, key_recipients.delete_recipient)


@router.post("/key-exports", operation_id="exportKeys", summary="Sortir les clés de ses capteurs")
async def export_own_keys(body: NewKeyExport, caller: KeyExporter) -> KeyExport:
    """Sortir les clés des capteurs de la collectivité (séquestre, changement d'opérateur), pour un destinataire.

    Il y faut le droit `export_keys`, que personne n'a d'office : l'exploitant le donne sur le serveur à une clé
    (`./territoire keys allow-export`), un responsable à une autre personne. La réponse est chiffrée pour la clé
    publique du destinataire, enregistrée avant. La clé d'API est vérifiée à nouveau, dans la base. L'audit
    consigne qui, quand, pourquoi, pour qui et quels capteurs ; ceux d'une autre collectivité, même visibles, sont
    refusés, et alors rien n'est sorti.
    """
    if caller.session is None and not await _is_the_same_key(caller, body.api_key.get_secret_value()):
        async with caller.changing() as change:
            asked = {"reason": body.reason, "dev_euis": body.dev_euis}
            await change.audit("refuse_export_keys", "device", "keys", after=asked)
        raise Problem(403, "présentez dans « api_key » la clé d'API de cette requête, en cours de validité")
    wanted = None if body.dev_euis is None else sorted({bytes.fromhex(eui) for eui in body.dev_euis})
    async with caller.changing() as change:
        recipient = await RECIPIENTS.get(change.connection, body.recipient_id)
        own = 0 if wanted is None else await count_own_devices(change.connection, change.tenant_id, wanted)
        if wanted is not None and own < len(wanted):
            raise not_found("un de ces capteurs, pour cette collectivité,")
        noted = {
            "reason": body.reason,
            **change.identity,
            "after": {"recipient": recipient.name, "public_key": recipient.public_key},
        }
        rows = await export_keys(change.connection, change.audit_actor, noted, wanted)
        try:
            content = KeyExportContent(devices=[_exported(caller.platform.keys, row) for row in rows])
        except WrongKek:
            wrong = "des clés sont chiffrées par une autre clé de chiffrement : rien n'est sorti"
            raise Problem(409, wrong) from None
    file = encrypt_for(recipient.public_key, content.model_dump_json(indent=1).encode())
    return KeyExport(recipient=recipient.name, devices=len(rows), file=file)


async def _is_the_same_key(caller: Caller, text: str) -> bool:
    try:
        principal = await authenticate(caller.platform.pool, text)
    except MalformedKey:
        return False
    return principal is not None and principal.key_id == caller.principal.key_id


def _exported(keys: KeyWrap, row: ExportedKeys) -> ExportedDevice:
    def opened(wrapped: bytes | None, owner: str) -> str:
        return "" if wrapped is None else keys.unwrap(wrapped, owner).hex()

    shown = asdict(row) | {
        "dev_eui": row.dev_eui.hex(),
        "join_eui": row.join_eui.hex(),
        "app_key": opened(row.app_key_wrapped, device_owner(row.dev_eui, "app_key")) or None,
        "session": None,
    }
    if row.dev_addr is not None:
        keys_of_session = {
            "dev_addr": row.dev_addr.hex(),
            "nwk_s_key": opened(row.nwk_s_key_wrapped, session_owner(row.dev_eui, row.dev_addr, "nwk_s_key")),
            "app_s_key": opened(row.app_s_key_wrapped, session_owner(row.dev_eui, row.dev_addr, "app_s_key")),
        }
        shown["session"] = ExportedSession.model_validate(shown | keys_of_session)
    return ExportedDevice.model_validate(shown)
