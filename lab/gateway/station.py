"""A gateway that speaks LoRa Basics Station's LNS protocol, and proves who it is by a token."""

import asyncio
import json
import ssl
import struct
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from lab.gateway.gateway import Gateway
from lab.radio.clock import now_us
from lab.radio.transmission import Reception

RETRY_S = 1.0
OPEN_WITHIN_S = 10.0
# The highest octets of an xtime are the radio and its session, the others its counter.
SESSION = 1 << 56 | 37 << 48
COUNTER_MASK = (1 << 48) - 1
# EU868: DR0 is SF12.
DR0_SF = 12
JOIN_REQUEST_LENGTH, LEAST_DATA_FRAME = 23, 12
JOIN_REQUEST_TYPE, DATA_UP_TYPES = 0, (2, 4)


@dataclass(slots=True)
class StationGateway(Gateway):
    """One station on its WebSocket; what it receives while it has none is lost, as of a real one."""

    url: str = ""
    token: str = ""
    tls: ssl.SSLContext | None = None
    """Whom it believes, on wss."""
    _connection: ClientConnection | None = None
    _spreading_factors: list[int] = field(default_factory=list[int])
    _began_us: int = field(default_factory=now_us)
    _sending: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection and was told its channels."""
        return self._connection is not None

    async def run(self) -> None:
        """Ask where to go, go there, and take what comes, until cancelled."""
        while True:
            try:
                await self._session()
            except (OSError, TimeoutError, WebSocketException):
                pass
            finally:
                self._connection = None
            await asyncio.sleep(RETRY_S)

    def _connect(self, uri: str) -> connect:
        header = {"Authorization": self.token}
        return connect(
            uri,
            additional_headers=header,
            ssl=self.tls,
            proxy=None,
            ping_interval=None,
            open_timeout=OPEN_WITHIN_S,
        )

    async def _session(self) -> None:
        async with self._connect(f"{self.url}/router-info") as asking:
            await asking.send(json.dumps({"router": "-".join(f"{octet:02x}" for octet in self.gateway_id)}))
            uri: str | None = json.loads(await asking.recv()).get("uri")
        if uri is None:  # It is turned away, and asks again.
            return
        async with self._connect(uri) as connection:
            version = {"station": "2.0.6(simulator)", "firmware": None, "package": None, "model": "simulator"}
            await connection.send(
                json.dumps({"msgtype": "version", **version, "protocol": 2, "features": "rmtsh"})
            )
            async for text in connection:
                self._answer_message(connection, json.loads(text))

    def _answer_message(self, connection: ClientConnection, message: dict[str, Any]) -> None:
        match message.get("msgtype"):
            case "router_config":
                rates: list[list[int]] = message["DRs"]
                self._spreading_factors = [rate[0] for rate in rates]
                self._connection = connection
                self.uptime.record_answer()
            case "dnmsg":
                self._transmit_first(message)
            case _:
                pass

    def _send(self, message: dict[str, Any]) -> bool:
        connection = self._connection
        if connection is None:
            return False
        sending = asyncio.create_task(self._send_to(connection, json.dumps(message)))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return True

    async def _send_to(self, connection: ClientConnection, text: str) -> None:
        try:
            await connection.send(text)
        except WebSocketException:
            return  # It comes back, and this one is lost.

    def forward(self, reception: Reception) -> bool:
        """Send the frame as its kind has it; without a connection it is lost."""
        transmission = reception.transmission
        message = message_of(transmission.phy_payload) | {
            "RefTime": 0.0,
            "DR": DR0_SF - transmission.spreading_factor,
            "Freq": transmission.frequency,
            "upinfo": {
                "rctx": 0,
                "xtime": SESSION | (transmission.end_us - self._began_us & COUNTER_MASK),
                "gpstime": 0,
                "fts": -1,
                "rssi": reception.rssi,
                "snr": reception.snr,
                "rxtime": (transmission.end_us + self.clock_error_us) / 1e6,
            },
        }
        return self._send(message)

    def _transmit_first(self, asked: dict[str, Any]) -> None:
        """Transmit in the first window that the radio can keep; nothing is said of a frame that it cannot send."""
        if asked["dC"]:
            windows: list[tuple[str, int | None]] = [("RX2", None)]
        else:
            opens_us = self._began_us + (asked["xtime"] & COUNTER_MASK) + asked["RxDelay"] * 1_000_000
            windows = [("RX1", opens_us), ("RX2", opens_us + 1_000_000)]
        for window, at_us in windows:
            if f"{window}DR" not in asked:
                continue
            data_rate: int = asked[f"{window}DR"]
            spreading_factor = self._spreading_factors[data_rate]
            word = self.transmit(
                bytes.fromhex(asked["pdu"]), asked[f"{window}Freq"], spreading_factor, at_us=at_us
            )
            if word == "NONE":
                starts_us = now_us() if at_us is None else at_us
                asyncio.get_running_loop().call_later(
                    max(0.0, (starts_us - now_us()) / 1e6), self._transmitted, asked, window, starts_us
                )
                return

    def _transmitted(self, asked: dict[str, Any], window: str, starts_us: int) -> None:
        self._send(
            {
                "msgtype": "dntxed",
                "diid": asked["diid"],
                "DevEui": asked["DevEui"],
                "rctx": asked["rctx"],
                "xtime": SESSION | (starts_us - self._began_us & COUNTER_MASK),
                "txtime": starts_us / 1e6,
                "gpstime": 0,
                "DR": asked[f"{window}DR"],
                "Freq": asked[f"{window}Freq"],
            }
        )


def message_of(phy_payload: bytes) -> dict[str, Any]:
    """What a station makes of a frame: a join-request, a data frame, or neither."""
    m_type = phy_payload[0] >> 5
    if m_type == JOIN_REQUEST_TYPE and len(phy_payload) == JOIN_REQUEST_LENGTH:
        return {
            "msgtype": "jreq",
            "MHdr": phy_payload[0],
            "JoinEui": _dashed(phy_payload[8:0:-1]),
            "DevEui": _dashed(phy_payload[16:8:-1]),
            "DevNonce": int.from_bytes(phy_payload[17:19], "little"),
            "MIC": _signed(phy_payload[19:]),
        }
    if m_type in DATA_UP_TYPES and len(phy_payload) >= LEAST_DATA_FRAME:
        opts_end = 8 + (phy_payload[5] & 15)
        has_port = opts_end < len(phy_payload) - 4
        return {
            "msgtype": "updf",
            "MHdr": phy_payload[0],
            "DevAddr": _signed(phy_payload[1:5]),
            "FCtrl": phy_payload[5],
            "FCnt": int.from_bytes(phy_payload[6:8], "little"),
            "FOpts": phy_payload[8:opts_end].hex(),
            "FPort": phy_payload[opts_end] if has_port else -1,
            "FRMPayload": phy_payload[opts_end + 1 : -4].hex() if has_port else "",
            "MIC": _signed(phy_payload[-4:]),
        }
    return {"msgtype": "propdf", "FRMPayload": phy_payload.hex()}


def _dashed(octets: bytes) -> str:
    return "-".join(f"{octet:02x}" for octet in octets)


def _signed(octets: bytes) -> int:
    return struct.unpack("<i", octets)[0]
