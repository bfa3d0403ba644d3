from statistics import mean

from decoders.catalogue import CODECS
from lab.load.plan import KINDS, POOL, payload_pool, plan_load_devices, plan_load_gateways
from lab.simulator.sensors import now_us


def test_every_payload_is_decoded_to_as_many_values_as_its_kind_says() -> None:
    at_us = now_us()

    for plan, (profile, _, _, values) in zip(plan_load_devices(len(KINDS), "a load"), KINDS, strict=True):
        pool = payload_pool(plan.application, at_us)
        assert len(pool) == POOL
        for message in pool:
            decoded = CODECS[profile.codec].decode(message.f_port, message.payload, at_us, {})
            assert len(decoded.readings) == values


def test_an_uplink_carries_five_values_on_average() -> None:
    assert mean(values for *_, values in KINDS) == 5


def test_indexes_do_not_fall_when_the_pool_begins_anew() -> None:
    plan = plan_load_devices(4, "a load")[3]
    codec = CODECS[plan.profile.codec]

    indexes = {
        reading.value
        for message in payload_pool(plan.application, now_us())
        for reading in codec.decode(message.f_port, message.payload, 0, {}).readings
        if reading.quantity == "active_energy_import"
    }

    assert len(indexes) == 1


def test_the_same_name_gives_the_same_load_and_another_name_another() -> None:
    ours, others = plan_load_devices(20, "ours"), plan_load_devices(20, "others")

    assert [plan.dev_eui for plan in ours] == [plan.dev_eui for plan in plan_load_devices(20, "ours")]
    assert not {plan.dev_eui for plan in ours} & {plan.dev_eui for plan in others}
    assert len({plan.gateway_id for plan in plan_load_gateways(30, "ours")}) == 30
