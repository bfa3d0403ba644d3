"""Bodies at the intake's door, at a source of each kind; what is an uplink of the registered device is stored."""

import json
import secrets
import time
from http import HTTPStatus
from typing import NamedTuple

import httpx

from core.runtime.http.middleware import MAX_BODY
from lab.chaos.fuzz.live import LiveFindings, Port, figures, play_live
from lab.chaos.scene import Scene
from lab.fleet.pilot import EM400
from lab.fleet.provision import Provisioner
from lab.fuzz import recorded
from lab.fuzz.gateways import lns_message
from lab.fuzz.target import source_of

COUNTED = "territoire_intake_messages_total"
DEV_EUI = "70b3d57ed0001234"
DEVICE = {
    "dev_eui": DEV_EUI,
    "join_eui": "70b3d57ed0001000",
    "name": "Benne 12",
    "app_key": "000102030405060708090a0b0c0d0e0f",
}
ANSWERS = frozenset({200, 202, 404, 422})
TIMEOUT_S = 10.0
# A header cannot have what a topic may.
TOPIC_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/@")


class _Source(NamedTuple):
    path: str
    token: str


async def play_lns(scene: Scene, cases: int, seed: str) -> LiveFindings:
    """Whatever is sent is answered, and never by 5xx."""
    run, findings = scene.processes.run, LiveFindings("lns-live", "Corps des autres LNS, à l'entrée")
    sources = await _open_sources(run.api_url, scene.load.api_key)
    sent = 0
    async with httpx.AsyncClient(base_url=run.intake_url, timeout=TIMEOUT_S, trust_env=False) as client:

        async def post(kind: str, topic: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
            nonlocal sent
            source, rest = sources[kind], "".join(letter for letter in topic if letter in TOPIC_LETTERS).strip("/")
            sent += 1
            authorization = {"Authorization": f"Bearer {source.token}"}
            return await client.post(f"{source.path}/{rest}", content=body, headers=authorization | headers)

        async def send(case: int) -> None:
            nonlocal sent
            push = lns_message(source_of(seed, "lns-live", case))
            answer = await post(push.kind, push.message.topic, push.message.body, dict(push.message.headers))
            if len(push.message.body) > MAX_BODY and answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                sent -= 1  # Turned away before it is a message.
            elif answer.status_code not in ANSWERS:
                findings.report(f"{answer.status_code} {answer.text[:100]}", push)

        async def ask() -> None:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            body = {"device": DEV_EUI, "time": now, "port": 85, "payload": "01755c", "id": secrets.token_hex(8)}
            answer = await post("generic", "", json.dumps(body).encode(), {})
            if answer.status_code != HTTPStatus.OK:
                findings.report(f"a good message: {answer.status_code} {answer.text[:100]}", body)

        async def count() -> int:
            return sum((await figures(run, "intake", COUNTED)).values())

        await play_live(findings, Port(send, ask, count, "intake"), run, cases)
    findings.to_count = sent
    return findings


async def _open_sources(api_url: str, api_key: str) -> dict[str, _Source]:
    """A source for each kind, and the device that recorded messages name."""
    api = Provisioner(api_url, api_key)
    try:
        await api.post("/v1/devices", DEVICE | {"device_profile_id": await api.create_profile(EM400, 600)})
        sources = dict[str, _Source]()
        for kind in sorted({sample["kind"] for sample in recorded.lns_messages()}):
            source = await api.post("/v1/lns-sources", {"kind": kind, "name": f"Hostile {kind}"})
            sources[kind] = _Source(f"/lns/{source['id']}", source["token"])
        return sources
    finally:
        await api.close()
