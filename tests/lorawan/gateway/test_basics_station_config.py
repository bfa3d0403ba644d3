"""router_config against the one that the real station 2.0.6 took (tests/vectors/basics_station_eu868.json)."""

import json
from pathlib import Path

import pytest

from lorawan.gateway.basics_station_config import CONCENTRATORS, channel_of, router_config
from lorawan.regions import EU868, REGIONS, Fsk, Lora

# But for the region's name: stations before 2.0.6 know "EU863" alone, and the later ones take it for "EU868".
ACCEPTED = json.loads((Path(__file__).parents[2] / "vectors" / "basics_station_eu868.json").read_text("utf-8")) | {
    "region": "EU863"
}
NOW_US = 1_795_559_600_500_000


def test_the_configuration_of_one_board_is_what_the_real_station_accepted() -> None:
    assert json.loads(router_config(EU868, NOW_US)) == ACCEPTED


def test_two_boards_have_a_configuration_each() -> None:
    config = json.loads(router_config(EU868, NOW_US, boards=2))

    assert config["hwspec"] == "sx1301/2"
    assert config["sx1301_conf"] == ACCEPTED["sx1301_conf"] * 2
    assert {name: config[name] for name in ACCEPTED if name not in {"hwspec", "sx1301_conf"}} == {
        name: ACCEPTED[name] for name in ACCEPTED if name not in {"hwspec", "sx1301_conf"}
    }


@pytest.mark.parametrize("boards", [0, 3, -1])
def test_other_numbers_of_boards_are_rejected(boards: int) -> None:
    with pytest.raises(ValueError, match="1 to 2 boards"):
        router_config(EU868, NOW_US, boards=boards)


def test_limits_are_lifted_only_when_asked() -> None:
    lifted = json.loads(router_config(EU868, NOW_US, unlimited=True))

    assert lifted == ACCEPTED | {"nocca": True, "nodc": True, "nodwell": True}
    assert not ACCEPTED.keys() & {"nocca", "nodc", "nodwell"}


@pytest.mark.parametrize("region", REGIONS.values(), ids=lambda region: region.name)
def test_every_channel_of_every_region_is_within_reach_of_a_radio(region) -> None:
    (board,) = json.loads(router_config(region, NOW_US))["sx1301_conf"]

    tuned = [
        board[f"radio_{channel['radio']}"]["freq"] + channel["if"]
        for name, channel in board.items()
        if name.startswith("chan_multiSF")
    ]
    assert tuned == [channel.frequency for channel in region.uplink_channels]
    assert all(abs(channel.get("if", 0)) <= 462_500 for channel in board.values())
    assert region.name in CONCENTRATORS


@pytest.mark.parametrize(
    ("frequency", "data_rate", "channel"),
    [
        (868_100_000, Lora(7, 125_000), 0),
        (867_900_000, Lora(12, 125_000), 7),
        (868_300_000, Lora(7, 250_000), 8),
        (868_800_000, Fsk(50_000), 9),
        (869_525_000, Lora(7, 125_000), 0),
    ],
)
def test_the_channel_is_the_one_that_we_configured(frequency: int, data_rate: Lora | Fsk, channel: int) -> None:
    assert channel_of(EU868, frequency, data_rate) == channel
