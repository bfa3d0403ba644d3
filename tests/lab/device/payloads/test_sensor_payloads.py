"""The simulated sensors' frames, octet for octet as the published examples have them."""

from lab.device.payloads import axioma, elsys, milesight


def test_writes_the_em310_example() -> None:
    """Milesight-IoT/SensorDecoders, README of em310-udl."""
    octets = milesight.em310(battery=92, distance_mm=2_116, tilted=True)

    assert octets.hex() == "01755c03824408040001"


def test_writes_the_em400_examples() -> None:
    """Milesight-IoT/SensorDecoders, README of em400-udl."""
    octets = milesight.em400(battery=92, temperature=25.7, distance_mm=2_116, tilted=True)
    alarms = milesight.em400_alarms(temperature=23.2, distance_mm=1_601, raised=True)

    assert octets.hex() == "01755c0367010104824408050001"
    assert alarms.hex() == "8367e800018482410601"


def test_writes_the_am103_example() -> None:
    """Milesight-IoT/SensorDecoders, README of am103."""
    octets = milesight.am103(battery=100, temperature=28.0, humidity=54.5, co2=453)

    assert octets.hex() == "0175640367180104686d077dc501"


def test_writes_the_am319_example_and_its_ozone() -> None:
    """Milesight-IoT/SensorDecoders, README of am319-hcho, which has no ozone; its channel is am319-o3's."""
    octets = milesight.am319(
        temperature=23.8,
        humidity=62.0,
        motion=True,
        light_level=2,
        co2=936,
        tvoc=0.37,
        pressure=1_008.6,
        hcho=0.07,
        pm2_5=32,
        pm10=48,
        o3=0.0,
    )

    example = "0367ee0004687c05000106cb02077da803087d2500097366270a7d07000b7d20000c7d3000"
    assert octets.hex() == example + "0d7d0000"


def test_writes_the_ers_co2_example_with_its_battery() -> None:
    """TheThingsNetwork/lorawan-devices, ers-co2-codec.yaml; the battery of the vendor's elsys.js."""
    octets = elsys.ers_co2(temperature=22.6, humidity=41, lux=39, motion=6, co2=776, vdd_mv=3_594)

    assert octets.hex() == "0100e20229040027050606030807" + "0e0a"


def test_writes_the_w1_examples() -> None:
    """The vendor's example of its W1."""
    octets = axioma.w1(
        now_s=1_625_802_687,
        volume_l=103_720,
        first_log_s=1_625_745_600,
        first_volume_l=103_415,
        hourly_deltas_l=[30, 4, 15, 11, 32, 5, 29, 84, 45, 15, 10, 10, 0, 3, 3],
    )
    alarm = axioma.w1_alarm(at_s=1_622_034_653, code=0x10)

    assert octets.hex() == (
        "bfc7e7600028950100c0e8e660f79301001e0004000f000b00200005001d0054002d000f000a000a00000003000300"
    )
    assert alarm.hex() == "dd48ae6010"
