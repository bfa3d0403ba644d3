"""Whether the law leaves a gateway room for all that `chaos fuzz` asks of it in an hour."""

from lab.chaos.fuzz.around import CASES
from lab.chaos.fuzz.live import BURST
from lab.chaos.fuzz.radio import FREQUENCY, RX2_SF9
from lorawan.airtime import downlink_airtime_us
from lorawan.regions import EU868

# A header, a counter and a MIC: nothing in it but the acknowledgement (LoRaWAN L2 1.0.4, section 4).
ACKNOWLEDGEMENT = 1 + 4 + 1 + 2 + 4
HOUR_US = 3_600_000_000


def test_one_hour_holds_the_acknowledgements_of_a_whole_run() -> None:
    """Behind each burst two good messages: as many as fit into 1 % in RX1, the rest into 10 % in RX2."""
    rates = EU868.data_rates
    in_rx1 = HOUR_US // 100 // downlink_airtime_us(ACKNOWLEDGEMENT, rates[5])
    in_rx2 = HOUR_US // 10 // downlink_airtime_us(ACKNOWLEDGEMENT, rates[RX2_SF9])

    assert 868_000_000 <= FREQUENCY < 868_600_000
    assert in_rx1 == 873
    assert in_rx1 + in_rx2 >= 2 * CASES // BURST
