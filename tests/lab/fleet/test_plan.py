from statistics import mean

from decoders.catalogue import CODECS
from lab.device.application import PREPARED, PreparedPayloads
from lab.fleet.benchmark import KINDS, plan_benchmark
from lab.fleet.pilot import GATEWAYS, PILOT, PILOT_DEVICES, plan_pilot
from lab.fleet.plan import DevicePlan
from lab.radio.clock import now_us


def devices_of(name: str, count: int) -> list[DevicePlan]:
    return plan_benchmark(name, count, 0).devices


def test_every_payload_is_decoded_to_as_many_values_as_its_kind_says() -> None:
    at_us = now_us()

    for plan, kind in zip(devices_of("a load", len(KINDS)), KINDS, strict=True):
        messages = PreparedPayloads(plan.application, at_us).messages
        assert len(messages) == PREPARED
        for message in messages:
            decoded = CODECS[kind.profile.codec].decode(message.f_port, message.payload, at_us, {})
            assert len(decoded.readings) == kind.values


def test_an_uplink_carries_five_values_on_average() -> None:
    assert mean(kind.values for kind in KINDS) == 5


def test_indexes_do_not_fall_when_prepared_payloads_begin_anew() -> None:
    plan = devices_of("a load", 4)[3]
    codec = CODECS[plan.profile.codec]

    indexes = {
        reading.value
        for message in PreparedPayloads(plan.application, now_us()).messages
        for reading in codec.decode(message.f_port, message.payload, 0, {}).readings
        if reading.quantity == "active_energy_import"
    }

    assert len(indexes) == 1


def test_prepared_payloads_are_sent_in_turn() -> None:
    prepared = PreparedPayloads(devices_of("a load", 1)[0].application, now_us())
    sent = [prepared.next_message(0) for _ in range(2 * PREPARED)]

    assert tuple(sent) == prepared.messages * 2


def test_the_same_name_gives_the_same_fleet_and_another_name_another() -> None:
    ours, others = devices_of("ours", 20), devices_of("others", 20)

    assert [plan.dev_eui for plan in ours] == [plan.dev_eui for plan in devices_of("ours", 20)]
    assert not {plan.dev_eui for plan in ours} & {plan.dev_eui for plan in others}
    assert len({plan.gateway_id for plan in plan_benchmark("ours", 0, 30).gateways}) == 30


def test_one_gateway_in_four_of_the_pilot_is_on_mqtt_and_its_kinds_are_as_many_as_they_are() -> None:
    plan = plan_pilot("pilot")

    # None by Semtech UDP, which proves nothing.
    expected = ["station", "station", "station", "mqtt"] * (GATEWAYS // 4)
    assert [one.speaks for one in plan.gateways] == expected
    assert len(plan.devices) == PILOT_DEVICES
    for count, kind in PILOT:
        assert sum(one.profile is kind.profile for one in plan.devices) == count
    assert len(plan_pilot("small", 12, 2).devices) == 12
