"""Photos without what a camera notes beside the picture."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.jpeg import NoJpeg, stripped
from tests.api.photos import ONE_PIXEL, jpeg

# As a telephone held sideways writes it (Exif 2.3, section 4.6): little-endian, orientation 6, then a place.
SIDEWAYS = bytes.fromhex("49492a00080000000200120103000100000006000000258804000100000026000000")


def test_place_model_comment_and_what_hangs_behind_are_taken_out_and_the_picture_stays_upright() -> None:
    comment = b"\xff\xfe\x00\x0bnot\0\0seen"
    xmp = b"\xff\xe1\x00\x0ehttp://ns.ad"
    octets = jpeg(exif=SIDEWAYS + b"GPS 48.45 N", behind=b"a film of two seconds")
    octets = octets[:2] + comment + xmp + octets[2:]

    kept = stripped(octets)

    assert (
        kept
        == ONE_PIXEL[:2]
        + bytes.fromhex("ffe100224578696600004d4d002a00000008000101120003000000010006000000000000")
        + ONE_PIXEL[2:]
    )
    assert stripped(kept) == kept
    assert stripped(jpeg(exif=b"nothing of TIFF")) == ONE_PIXEL


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a", ONE_PIXEL[:-2], ONE_PIXEL[:60], b"\xff\xd8\xff\xd9"],
)
def test_what_is_no_whole_jpeg_is_rejected(octets: bytes) -> None:
    with pytest.raises(NoJpeg):
        stripped(octets)


@given(st.binary(max_size=200), st.integers(0, len(ONE_PIXEL)))
def test_arbitrary_octets_raise_only_no_jpeg(octets: bytes, at: int) -> None:
    for tried in (
        octets,
        b"\xff\xd8" + octets,
        ONE_PIXEL[:at] + octets + ONE_PIXEL[at:],
        jpeg(exif=octets or b"x"),
    ):
        with suppress(NoJpeg):
            assert stripped(stripped(tried)) == stripped(tried)
