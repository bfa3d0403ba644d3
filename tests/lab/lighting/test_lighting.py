"""Campaigns as discrete events, a small share of what `bench lighting` plays; hours by hand."""

import random
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest

from lab.lighting.area import Area, AreaCabinet, plan_area
from lab.lighting.campaign import ALL_ON, OVERRIDES, PROGRAMS, CampaignKind
from lab.lighting.figures import HOUR_US, SECOND_US, Sent, busiest_hour_us, uplink_loss
from lab.lighting.play import Databases, play
from lab.lighting.report import figures_of
from lorawan.airtime import lora_airtime_us


def naive_busiest_hour_us(sent: list[Sent], step_us: int) -> int:
    """Every hour that begins at a multiple of `step_us`, frame by frame."""
    end = max(one.start_us + one.airtime_us for one in sent)
    return max(
        sum(max(0, min(one.start_us + one.airtime_us, at + HOUR_US) - max(one.start_us, at)) for one in sent)
        for at in range(-HOUR_US, end, step_us)
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_busiest_hour_is_that_of_all_hours_looked_at_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    at, sent = 0, list[Sent]()
    for _ in range(30):
        at += SECOND_US * chance.randrange(1, 600)
        sent.append(Sent(at, SECOND_US * chance.randrange(1, 60)))
        at += sent[-1].airtime_us

    assert busiest_hour_us(sent) == naive_busiest_hour_us(sent, SECOND_US)


def test_an_area_has_its_cabinets_where_it_is_said() -> None:
    area = plan_area(3_900, 24)
    slow = sum(cabinet.rx2_data_rate == 0 for cabinet in area.cabinets)

    assert len(area.cabinets) == 3_900
    assert area.most_loaded == pytest.approx(1.5, abs=0.01)
    assert slow / 3_900 == pytest.approx(0.2, abs=0.01)
    assert {len(cabinet.receptions) for cabinet in area.cabinets} == {1, 2, 3}
    assert all(snr <= best for cabinet in area.cabinets for (_, best), (_, snr) in pairwise(cabinet.receptions))


def test_an_uplink_is_lost_when_each_gateway_that_could_hear_it_sends() -> None:
    alone, both = AreaCabinet(0, ((0, 0.0),), 3), AreaCabinet(1, ((0, 0.0), (1, -1.0)), 3)
    half = [[Sent(0, 50 * SECOND_US)], [Sent(50 * SECOND_US, 50 * SECOND_US)]]

    loss = uplink_loss(Area(2, [alone, both]), half, 0, 100 * SECOND_US, 20_000)

    assert loss.alone == pytest.approx(0.5, abs=0.02)
    assert loss.busy == pytest.approx(0.5)
    assert 0 < loss.redundant < 0.01


@pytest.mark.parametrize(
    ("kind", "gateways", "octets"), [(OVERRIDES, 1, 8), (PROGRAMS, 2, 47)], ids=["overrides", "programs"]
)
async def test_a_campaign_in_a_small_area_takes_little_more_air_than_its_frames(
    database, kind: CampaignKind, gateways: int, octets: int
) -> None:
    databases = Databases(database.admin_url, database.service_url)

    area = plan_area(24, gateways)
    once_us = sum(lora_airtime_us(13 + octets, one.spreading_factor, 125_000, crc=False) for one in area.cabinets)

    played = await play(databases, area, kind, timedelta(minutes=15), probes=1_000)

    assert Counter(one.state for one in played.outcomes) == {"applied": 24}
    assert once_us < played.airtime_s * SECOND_US < 1.25 * once_us
    assert played.worst_hour < 0.1
    assert played.loss.redundant < 0.02
    assert 0.3 < played.predicted_s / (played.took_s or 0) < 3
    assert figures_of(played)
    for sent in played.sent:
        assert busiest_hour_us(sent) == sum(one.airtime_us for one in sent) > 0
        assert all(
            one.start_us + one.airtime_us <= other.start_us
            for one, other in pairwise(sorted(sent, key=lambda one: one.start_us))
        )


async def test_all_on_lights_neighbouring_groups_by_few_frames_that_do_not_spoil_each_other(database) -> None:
    databases = Databases(database.admin_url, database.service_url)

    played = await play(databases, plan_area(48, 4), ALL_ON, timedelta(minutes=1, seconds=30), probes=1_000)
    frames = sum(map(len, played.sent))

    assert played.lit == 48
    # Seven groups, five repetitions each; one slow cabinet is alone at its gateway, and is sent its own.
    assert frames in {7 * 5 + 1, 7 * 5 + 2}
    # A gateway that lost a member's last uplink is not known to be beside another.
    assert played.disturbed.spoilt <= 4
    assert figures_of(played)
