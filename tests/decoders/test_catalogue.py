"""The catalogue of native codecs."""

from decoders.catalogue import CODECS


def test_registers_each_codec_under_its_own_name() -> None:
    assert [codec.name for codec in CODECS.values()] == list(CODECS)


def test_has_watteco_s_and_adeunis_s() -> None:
    expected = {"adeunis.tic", "watteco.pulse", "watteco.standard", "watteco.tic", "watteco.triphaso"}

    assert expected <= CODECS.keys()
