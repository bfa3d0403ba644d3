"""MAC commands as Wireshark reads them; tests/vectors/wireshark_mac_commands.json says how they were made."""

import json
from pathlib import Path
from typing import Any

import pytest

from lorawan.commands import DownlinkCommand, UplinkCommand, parse_downlink_commands, parse_uplink_commands
from lorawan.commands.dev_status import DevStatusAns
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.link_check import LinkCheckAns
from lorawan.commands.new_channel import NewChannelAns, NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupReq

VECTORS = Path(__file__).parents[2] / "vectors" / "wireshark_mac_commands.json"
COMMANDS: list[dict[str, Any]] = json.loads(VECTORS.read_text())["commands"]
HZ = 100  # Wireshark leaves frequencies in the steps of the air.


def as_wireshark_names(command: UplinkCommand | DownlinkCommand) -> dict[str, int]:  # noqa: PLR0911
    match command:
        case LinkCheckAns(margin, gateway_count):
            return {"link_check_answer.margin": margin, "link_check_answer.gwcnt": gateway_count}
        case LinkAdrReq(data_rate, tx_power, ch_mask, ch_mask_cntl, nb_trans):
            return {
                "link_adr_request.datarate": data_rate,
                "link_adr_request.txpower": tx_power,
                "link_adr_request.channel": ch_mask,
                "link_adr_request.chmaskctl": ch_mask_cntl,
                "link_adr_request.nbrep": nb_trans,
            }
        case LinkAdrAns(power, data_rate, mask):
            return {
                "link_adr_response.txpower": power,
                "link_adr_response.datarate": data_rate,
                "link_adr_response.channelmask": mask,
            }
        case RxParamSetupReq(offset, rx2_dr, frequency):
            return {
                "rx_setup_request.rx1droffset": offset,
                "rx_setup_request.rx2datarate": rx2_dr,
                "rx_setup_request.frequency": frequency // HZ,
            }
        case RxParamSetupAns(offset, rx2_dr, channel):
            return {
                "rx_setup_response.rx1droffset": offset,
                "rx_setup_response.rx2datarate": rx2_dr,
                "rx_setup_response.frequency": channel,
            }
        case DevStatusAns(battery, margin):
            # The six bits, whose sign Wireshark leaves to its reader.
            return {"device_status_response.battery": battery, "device_status_response.margin": margin % 64}
        case NewChannelReq(index, frequency, min_dr, max_dr):
            return {
                "new_channel_request.index": index,
                "new_channel_request.frequency": frequency // HZ,
                "new_channel_request.drrange_max": max_dr,
                "new_channel_request.drrange_min": min_dr,
            }
        case NewChannelAns(data_rates, frequency):
            return {"new_channel_response.datarate": data_rates, "new_channel_response.frequency": frequency}
        case RxTimingSetupReq(delay):
            return {"rx_timing_request.delay": delay}
        case _:
            raise AssertionError(f"Wireshark names no field of {command}")


@pytest.mark.parametrize("vector", COMMANDS, ids=lambda vector: vector["octets"])
def test_every_field_is_read_as_wireshark_reads_it(vector: dict[str, Any]) -> None:
    parse = parse_uplink_commands if vector["direction"] == "up" else parse_downlink_commands

    (command,) = parse(bytes.fromhex(vector["octets"])).commands

    assert as_wireshark_names(command) == vector["fields"]
