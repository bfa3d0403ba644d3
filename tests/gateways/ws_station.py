"""A LoRa Basics Station for tests, after its public protocol and without a line of ours: it only knows JSON."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from core.messages import topics
from lorawan.identifiers import GatewayId
from tests.gateways.station_face import Command, Traits
from tests.gateways.stations import Rig, register

# Radio unit 1, session 37, and a counter: an odd number that no float can hold.
XTIME = 1 << 56 | 37 << 48 | 123_456_789_012_345
RCTX = 0
GPS_EPOCH_S, LEAP_S = 315_964_800, 18

# As the real station 2.0.6 wrote them.
UPDF = (
    '{"msgtype":"updf","MHdr":64,"DevAddr":1237220849,"FCtrl":0,"FCnt":2,"FOpts":"","FPort":1,"FRMPayload":"95437876",'
    '"MIC":234819883,"RefTime":1795559600.545113,"DR":5,"Freq":868100000,"upinfo":{"rctx":0,"xtime":1407375152494224,'
    '"gpstime":0,"fts":-1,"rssi":-71,"snr":8.25,"rxtime":1795559600.545119}}'
)
JREQ = (
    '{"msgtype":"jreq","MHdr":0,"JoinEui":"08-07-06-05-04-03-02-01","DevEui":"18-17-16-15-14-13-12-11",'
    '"DevNonce":4660,"MIC":-573785174,"RefTime":1795559600.5,"DR":0,"Freq":868100000,"upinfo":{"rctx":0,'
    '"xtime":1407375152494224,"gpstime":0,"rssi":-71,"snr":8.25,"rxtime":1795559600.5}}'
)


def dashed(octets: bytes) -> str:
    return "-".join(f"{octet:02x}" for octet in octets)


def signed(octets: bytes) -> int:
    return struct.unpack("<i", octets)[0]


def up_info(time_us: int | None = None, gps_time_us: int | None = None, xtime: int = XTIME) -> dict[str, Any]:
    gpstime = 0 if gps_time_us is None else gps_time_us - (GPS_EPOCH_S - LEAP_S) * 1_000_000
    heard = {"rctx": RCTX, "xtime": xtime, "gpstime": gpstime, "fts": -1, "rssi": -71, "snr": 8.25}
    return heard | ({} if time_us is None else {"rxtime": time_us / 1e6})


def message_of(phy: bytes, info: dict[str, Any], ref_time: float = 0.0) -> dict[str, Any]:
    """What a station makes of a frame."""
    common = {"RefTime": ref_time, "DR": 5, "Freq": 868_100_000, "upinfo": info}
    m_type = phy[0] >> 5
    if m_type == 0 and len(phy) == 23:
        return {
            "msgtype": "jreq",
            "MHdr": phy[0],
            "JoinEui": dashed(phy[8:0:-1]),
            "DevEui": dashed(phy[16:8:-1]),
            "DevNonce": struct.unpack("<H", phy[17:19])[0],
            "MIC": signed(phy[19:]),
        } | common
    if m_type in {2, 4} and len(phy) >= 12:
        opts_end = 8 + (phy[5] & 15)
        port = phy[opts_end : opts_end + 1] if opts_end < len(phy) - 4 else b""
        return {
            "msgtype": "updf",
            "MHdr": phy[0],
            "DevAddr": signed(phy[1:5]),
            "FCtrl": phy[5],
            "FCnt": struct.unpack("<H", phy[6:8])[0],
            "FOpts": phy[8:opts_end].hex(),
            "FPort": port[0] if port else -1,
            "FRMPayload": phy[opts_end + 1 : -4].hex(),
            "MIC": signed(phy[-4:]),
        } | common
    return {"msgtype": "propdf", "FRMPayload": phy.hex()} | common


class WsStation:
    """One gateway on its connection."""

    traits = Traits(
        "basics_station",
        context=struct.pack(">qq", RCTX, XTIME),
        channel=0,  # By the frequency: a station does not say.
        powers=(None, None),  # The station's own affair.
        refuses=False,
        acknowledges_early=True,
    )

    def __init__(self, gateway_id: GatewayId, connection: ClientConnection) -> None:
        self.gateway_id = gateway_id
        self.connection = connection
        self.config: dict[str, Any] = {}
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.downlinks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen(self) -> None:
        async for text in self.connection:
            message = json.loads(text)
            (self.downlinks if message["msgtype"] == "dnmsg" else self.answers).put_nowait(message)

    async def send(self, message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def answered(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await self.answers.get()

    async def introduce(self, features: Any = "rmtsh gps") -> None:
        await self.send(
            {
                "msgtype": "version",
                "station": "2.0.6(linux/std)",
                "firmware": None,
                "package": None,
                "model": "linux",
                "protocol": 2,
                "features": features,
            }
        )
        self.config = await self.answered()

    async def say(self, octets: bytes) -> None:
        await self.connection.send(octets)
        await self.connection.send(octets.decode("latin-1"))

    async def speak(self) -> None:
        await (await self.connection.ping())

    async def receive(
        self, *phy_payloads: bytes, time_us: int | None = None, gps_time_us: int | None = None
    ) -> None:
        for phy_payload in phy_payloads:
            await self.send(message_of(phy_payload, up_info(time_us, gps_time_us)))

    async def downlink(self, within_s: float = 5) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            return await self.downlinks.get()

    async def command(self) -> Command:
        asked = await self.downlink()
        assert asked["DevEui"].strip("0-"), "a station never answers for DevEui 0"
        immediate = asked["dC"] == 2
        if not immediate:
            assert (asked["xtime"], asked["rctx"]) == (XTIME, RCTX)
        window = "RX2" if immediate else "RX1"
        spreading_factor, bandwidth_khz, _ = self.config["DRs"][asked[f"{window}DR"]]
        assert bandwidth_khz == 125
        return Command(
            bytes.fromhex(asked["pdu"]),
            asked[f"{window}Freq"],
            spreading_factor,
            None,
            immediate,
            0 if immediate else asked["RxDelay"] * 1_000_000,
            asked,
        )

    async def answer(self, command: Command, status: str) -> None:
        assert status == "OK", "a station has no other answer"
        await self.transmitted(command.reference, "RX2" if command.immediate else "RX1")

    async def transmitted(self, asked: dict[str, Any], window: str) -> None:
        await self.send(
            {
                "msgtype": "dntxed",
                "seqno": asked["diid"],
                "diid": asked["diid"],
                "DR": asked[f"{window}DR"],
                "Freq": asked[f"{window}Freq"],
                "DevEui": asked["DevEui"],
                "rctx": asked["rctx"],
                "xtime": asked.get("xtime", XTIME) + 1_000_000,
                "txtime": 740.300482,
                "gpstime": 0,
            }
        )


def connect_to(uri: str, **options: Any) -> connect:
    """Straight there, whatever proxy this machine uses."""
    return connect(uri, proxy=None, **options)


async def discover(base: str, router: Any, **options: Any) -> dict[str, Any]:
    """The first question, on a connection of its own."""
    async with connect_to(f"{base}/router-info", **options) as connection:
        await connection.send(json.dumps({"router": router}))
        return json.loads(await connection.recv())


@asynccontextmanager
async def ws_station(
    base: str, gateway_id: GatewayId, *, features: Any = "rmtsh gps", **options: Any
) -> AsyncGenerator[WsStation]:
    """As a station does: it asks where to go, goes there, sends its version, and receives its configuration."""
    discovered = await discover(base, dashed(gateway_id), **options)
    async with connect_to(discovered["uri"], ping_interval=None, **options) as connection:
        station = WsStation(gateway_id, connection)
        listening = asyncio.create_task(station.listen())
        try:
            await station.introduce(features)
            yield station
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await listening


async def on_the_air(rig: Rig, gateway_id: GatewayId) -> None:
    await register(rig.pool, gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await rig.reachable(gateway_id)


async def counted(rig: Rig, kind: str, result: str) -> float:
    labels = f'result="{result}",type="station_{kind}"'
    return await rig.metric(f"territoire_gateway_bridge_datagrams_total{{{labels}}}")
