"""The simulated Adeunis TIC's frames, octet for octet as the published examples have them."""

from lab.device.payloads import adeunis


def test_writes_the_single_phase_example() -> None:
    """sln-nc/adeunis-codecs-lib specs."""
    octets = adeunis.tic_mono(
        "021728031819",
        optarif="HC..",
        ptec="HP..",
        isousc=45,
        iinst=0,
        imax=0,
        papp=0,
        hchc=0,
        hchp=0,
        counter=2,
    )

    assert octets.hex() == (
        "494030323137323830333138313948432e2e800000000000002d000000000000000000000000000000000000000048502e2e"
    )


def test_writes_the_three_phase_example() -> None:
    """sln-nc/adeunis-codecs-lib specs."""
    octets = adeunis.tic_tri(
        "021728031819",
        base=4660,
        iinst=(43, 44, 45),
        imax=(17, 18, 19),
        pmax=32,
        papp=16,
        counter=2,
    )

    assert octets.hex() == (
        "4940303231373238303331383139000012340000002b0000002c0000002d0000001100000012000000130000002000000010"
    )
