"""Other LNS as takers of downlinks: their brokers and their HTTP APIs, as documented, on loopback."""

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response

from core.runtime.health import serve_http
from core.runtime.mqtt import MqttSession, MqttSettings
from services.supervisor.mosquitto import SIMULATOR
from services.supervisor.ports import LOOPBACK
from tests.contracts.lns_rig import Bench, SourceOfTest, now_us
from tests.contracts.lns_samples import Message, SampleUplink

AS_KEY = "ab" * 16


@dataclass(frozen=True)
class Taken:
    """A downlink as their LNS got it. `item` is how both sides name it from now on."""

    item: str
    f_port: int
    payload: bytes
    confirmed: bool


@dataclass
class HttpApi:
    """The APIs of all of them in one server; `refuse_with` is answered instead while it is set."""

    port: int = 0
    refuse_with: int | None = None
    token: str = "jwt-1"
    logins: int = 0
    status: str = "PENDING"
    headers: dict[str, str] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def app(self) -> FastAPI:
        app = FastAPI()
        post = ["POST"]
        app.add_api_route("/api/v3/as/applications/{app}/devices/{device}/down/push", self._push, methods=post)
        app.add_api_route("/thingpark/lrc/rest/downlink", self._thingpark, methods=post)
        app.add_api_route("/api/v1/deviceMgt/devices/{urn}/commands", self._command, methods=post)
        app.add_api_route("/api/v1/deviceMgt/commands/{item}/status", self._status, methods=["GET"])
        app.add_api_route("/application/login", self._login, methods=post)
        app.add_api_route("/application/dataDown", self._data_down, methods=post)
        return app

    def _record_request(self, request: Request, taken: Taken, **answer: Any) -> Response:
        self.headers = dict(request.headers)
        self.came.set()
        if self.refuse_with is not None:
            return Response("nope", self.refuse_with)
        self.taken.append(taken)
        return Response(**answer)

    async def _push(self, request: Request, app: str, device: str) -> Response:
        downlink = json.loads(await request.body())["downlinks"][0]
        assert (app, device) == ("bennes", "benne-12")
        return self._record_request(request, taken_by_tts(downlink), content="{}")

    async def _thingpark(self, request: Request) -> Response:
        query = request.query_params
        taken = Taken(
            query["CorrelationID"], int(query["FPort"]), bytes.fromhex(query["Payload"]), query["Confirmed"] == "1"
        )
        return self._record_request(request, taken, content="<html><body>Request queued by LRC</body></html>")

    async def _command(self, request: Request, urn: str) -> Response:
        assert urn.startswith("urn:lo:nsid:lora:")
        value = json.loads(await request.body())["request"]["value"]
        taken = Taken(secrets.token_hex(12), value["port"], bytes.fromhex(value["data"]), value["confirmed"])
        return self._record_request(request, taken, content=json.dumps({"id": taken.item, "status": "PENDING"}))

    async def _status(self, item: str) -> Response:
        assert item in [taken.item for taken in self.taken]
        return Response(json.dumps({"id": item, "status": self.status}))

    async def _login(self) -> Response:
        self.logins += 1
        return Response(json.dumps({"token": self.token, "tokenType": "Bearer"}), 201)

    async def _data_down(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {self.token}":
            return Response(status_code=401)
        body = json.loads(await request.body())
        taken = Taken(secrets.token_hex(12), body["fPort"], bytes.fromhex(body["payload"]), body["confirmed"])
        location = {"Location": f"/application/dataDown/{taken.item}"}
        return self._record_request(request, taken, status_code=201, headers=location)


def taken_by_tts(downlink: Mapping[str, Any]) -> Taken:
    correlation = downlink["correlation_ids"][0].removeprefix("territoire:")
    return Taken(correlation, downlink["f_port"], octets(downlink["frm_payload"]), downlink["confirmed"])


def octets(base64_text: str) -> bytes:
    return base64.b64decode(base64_text, validate=True)


@asynccontextmanager
async def http_api() -> AsyncGenerator[HttpApi]:
    api = HttpApi()
    async with serve_http(api.app(), LOOPBACK, 0) as port:
        api.port = port
        yield api


@dataclass
class BrokerApi:
    """An LNS that reads its own broker."""

    edge: MqttSession
    taken: list[Taken] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)

    async def read(self) -> None:
        while True:
            messages = await self.edge.batch()
            for message in messages:
                body = json.loads(message.payload)
                self.topics.append(message.topic)
                if "downlinks" in body:
                    self.taken += [taken_by_tts(one) for one in body["downlinks"]]
                else:
                    confirmed = body.get("confirmed", False)
                    self.taken.append(Taken(body["id"], body["fPort"], octets(body["data"]), confirmed))
            self.edge.ack(messages)


@asynccontextmanager
async def broker_api(bench: Bench) -> AsyncGenerator[BrokerApi]:
    filters = [bench.topic("application/+/device/+/command/down"), bench.topic("v3/+/devices/+/down/push")]
    settings = MqttSettings(mqtt_url=bench.broker.url(SIMULATOR), mqtt_client_id=f"taker-{secrets.token_hex(4)}")
    api = BrokerApi(MqttSession(settings, filters))
    tasks = [asyncio.create_task(api.edge.run()), asyncio.create_task(api.read())]
    await api.edge.connected()
    yield api
    for task in tasks:
        task.cancel()


def at(now: int) -> str:
    return datetime.fromtimestamp(now / 1e6, UTC).isoformat()


def says(kind: str, event: str, item: str, uplink: SampleUplink) -> Message:
    """What their LNS says of an item: "sent", "acknowledged", "refused" (by the device) or "failed"."""
    eui, now = uplink.dev_eui.hex(), now_us()
    match kind:
        case "chirpstack":
            name = {"sent": "txack", "acknowledged": "ack", "refused": "ack", "failed": "log"}[event]
            body: dict[str, Any] = {
                "sent": {"queueItemId": item, "fCntDown": 7, "time": at(now)},
                "acknowledged": {"queueItemId": item, "acknowledged": True},
                "refused": {"queueItemId": item},
                "failed": {"level": "ERROR", "code": "DOWNLINK_PAYLOAD_SIZE", "context": {"queue_item_id": item}},
            }[event]
            return Message(json.dumps(body).encode(), f"application/4a3c/device/{eui}/event/{name}")
        case "the_things_stack":
            name = {"sent": "sent", "acknowledged": "ack", "refused": "nack", "failed": "failed"}[event]
            downlink = {"correlation_ids": [f"territoire:{item}"], "f_cnt": 7}
            told = {"downlink": downlink, "error": {"message_format": "x"}} if event == "failed" else downlink
            body = {"end_device_ids": {}, "received_at": at(now), f"downlink_{name}": told}
            return Message(json.dumps(body).encode(), f"v3/bennes@ttn/devices/benne-12/down/{name}")
        case "thingpark":
            report = {"CorrelationID": item, "DeliveryStatus": "1", "FCntDn": "7", "Time": at(now)}
            lost = {"CorrelationID": item, "DeliveryStatus": "0", "DeliveryFailedCause1": "DA"}
            return Message(json.dumps({"DevEUI_downlink_Sent": report if event == "sent" else lost}).encode())
        case _:
            status = {"sent": "OK", "acknowledged": "OK", "failed": "KO"}[event]
            body = {"dataDownId": item, "status": status, "event": "ACK" if event == "acknowledged" else ""}
            return Message(json.dumps(body).encode(), "dataDownEvent")


async def deliver(bench: Bench, lns: MqttSession, source: SourceOfTest, message: Message) -> str:
    """By whichever way the source brings messages; what intake says it did, where it says something."""
    if not source.token:
        await lns.publish(bench.topic(message.topic), message.body)
        return ""
    report = json.loads(message.body).get("DevEUI_downlink_Sent")
    if report is not None:  # ThingPark signs.
        token = hashlib.sha256(f"0{report.get('FCntDn', '')}AS_ID=TWA_1.1{AS_KEY}".encode()).hexdigest()
        url = f"http://{LOOPBACK}:{bench.http_port}/lns/{source.id}?AS_ID=TWA_1.1&Token={token}"
        answer = await bench.http.post(url, content=message.body)
    else:
        answer = await bench.post(source, message)
    assert answer.status_code == 200
    return answer.json()["status"]
