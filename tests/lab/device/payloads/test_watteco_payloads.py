"""The simulated device's frames, octet for octet as the vendor's examples have them."""

import pytest

from decoders.linky import MeterDate
from lab.device.payloads import watteco


def test_writes_the_historique_example() -> None:
    """Watteco/Codec-API-LoRaWAN clusters_examples/examples_tics.json, second example."""
    octets = watteco.tic_historique({"BASE": 606932586})

    assert octets.hex() == "110a00540000410c0000000000000040242d0e6a"


def test_writes_the_standard_example_with_a_list() -> None:
    """The same file, first example."""
    octets = watteco.tic_standard({"DATE": MeterDate("E", 21, 4, 12, 10, 9, 33), "EAST": 104066, "EAIT": 15826885})

    assert octets.hex() == "110a005601004113240205144515040c0a09210001968200f17fc5"


def test_writes_the_standard_example_with_a_bitfield() -> None:
    """The same file, fifth example."""
    octets = watteco.tic_standard(
        {"DATE": MeterDate("E", 20, 10, 3, 19, 0, 2), "LTARF": "IND", "EAST": 17964, "EAIT": 2309964},
        as_list=False,
    )

    assert octets.hex() == "110a0056010041170410003445140a0313000283494e440000462c00233f4c"


@pytest.mark.parametrize(("on", "octets"), [(True, "110a000600001001"), (False, "110a000600001000")])
def test_writes_the_relay_report(on: bool, octets: str) -> None:
    """Watteco/Codec-API-LoRaWAN clusters_examples/examples_ON_OFF.json."""
    assert watteco.relay_state(on).hex() == octets


def test_writes_the_pulse_and_temperature_examples() -> None:
    """Watteco/Codec-API-LoRaWAN clusters_examples/examples_binary.json and examples_temperature.json."""
    assert watteco.pulse(0, 0).hex() == "110a000f04022300000000"
    assert watteco.temperature(0, 29.53).hex() == "110a04020000290b89"


def test_rejects_a_label_of_the_other_mode() -> None:
    with pytest.raises(ValueError, match="0056 does not have: \\['BASE'\\]"):
        watteco.tic_standard({"BASE": 1})


def test_rejects_a_value_of_another_kind() -> None:
    with pytest.raises(ValueError, match="EAST is a U32, not 'x'"):
        watteco.tic_standard({"EAST": "x"})


def test_rejects_more_labels_than_a_list_holds() -> None:
    labels = [f"EASF{index:02d}" for index in range(1, 11)] + [f"EASD{index:02d}" for index in range(1, 5)]
    labels += [f"{stem}{phase}" for stem in ("IRMS", "URMS", "SINSTS") for phase in "123"]
    labels += ["EAST", "EAIT", "ERQ1", "ERQ2", "ERQ3", "ERQ4", "PREF", "PCOUP"]

    with pytest.raises(ValueError, match="use a bitfield"):
        watteco.tic_standard(dict.fromkeys(labels, 0))
