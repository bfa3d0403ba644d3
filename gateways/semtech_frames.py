"""Converts between Semtech UDP's values and ours: receptions, gateway statistics, transmissions."""

from typing import Any

from core.messages.frames import GatewayFrame
from core.messages.traces import new_trace
from gateways.frontend import ChosenTransmission
from gateways.reception_time import reception_time_us
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import TxPk
from lorawan.identifiers import GatewayId
from lorawan.regions import Fsk, Lora

TMST_RANGE = 1 << 32
TMST_LENGTH = 4


def frames_of(
    rxpk: RxPk, gateway_id: GatewayId, received_at_us: int, round_trip_us: int = 0
) -> list[GatewayFrame]:
    """The copies in one rxpk: one, or one per antenna."""
    modulation = rxpk.modulation
    tmst = rxpk.tmst
    context = b"" if tmst is None else tmst.to_bytes(TMST_LENGTH, "big")
    time_us = reception_time_us(received_at_us, gps_time_us=rxpk.gps_time_us, gateway_time_us=rxpk.time_us)
    lora = modulation if isinstance(modulation, Lora) else Lora(0, 0)
    trace_id = new_trace()
    return [
        GatewayFrame(
            phy_payload=rxpk.phy_payload,
            gateway_id=gateway_id,
            time_us=time_us,
            received_at_us=received_at_us,
            context=context,
            frequency=rxpk.frequency,
            spreading_factor=lora.spreading_factor,
            bandwidth=lora.bandwidth,
            bit_rate=modulation.bit_rate if isinstance(modulation, Fsk) else 0,
            rssi=heard.rssi,
            snr=heard.snr,
            channel=heard.channel,
            antenna=heard.antenna,
            round_trip_us=round_trip_us,
            trace_id=trace_id,
        )
        for heard in rxpk.antennas or (rxpk,)
    ]


def stats_of(stat: Stat) -> dict[str, Any]:
    """A status as `gateway_state.stats` keeps it, under the protocol's own names."""
    stats = {
        "rxnb": stat.rx_received,
        "rxok": stat.rx_ok,
        "rxfw": stat.rx_forwarded,
        "ackr": stat.ack_ratio,
        "dwnb": stat.tx_received,
        "txnb": stat.tx_emitted,
        "temp": stat.temperature,
        "latitude": stat.latitude,
        "longitude": stat.longitude,
    }
    return {name: value for name, value in stats.items() if value is not None}


def txpk_of(radio_request: ChosenTransmission) -> TxPk | None:
    """What a forwarder is asked for; None when there is no counter to be on time by."""
    transmission = radio_request.transmission
    if transmission.immediate:
        tmst = None
    elif len(radio_request.context) == TMST_LENGTH:
        tmst = (int.from_bytes(radio_request.context) + transmission.delay_us) % TMST_RANGE
    else:
        return None
    modulation = Lora(transmission.spreading_factor, transmission.bandwidth)
    return TxPk(transmission.phy_payload, transmission.frequency, modulation, radio_request.erp, tmst)
