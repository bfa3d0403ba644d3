"""The catalogue of native codecs."""

from decoders.catalogue import CODECS


def test_registers_each_codec_under_its_own_name() -> None:
    assert [codec.name for codec in CODECS.values()] == list(CODECS)


def test_has_the_pilot_fleet_s() -> None:
    expected = {"adeunis.tic", "watteco.pulse", "watteco.standard", "watteco.tic", "watteco.triphaso"}
    expected |= {"axioma.w1", "elsys.ers_co2"}
    expected |= {f"milesight.{product}" for product in ("am103", "am319", "em310", "em400")}

    assert expected <= CODECS.keys()
