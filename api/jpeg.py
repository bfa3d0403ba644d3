"""A JPEG file without what a camera notes beside the picture (ITU-T T.81, annex B; Exif 2.3, section 4.6). Pure.

Where a photo was taken, by which device and with which thumbnail stands in application segments and behind the end
of the picture. Only what a viewer needs to draw it is kept, and which way up it is.
"""

from collections.abc import Iterator
from struct import unpack_from

MARKER, START, END, SCAN = 0xFF, 0xD8, 0xD9, 0xDA
JFIF, EXIF, ADOBE = 0xE0, 0xE1, 0xEE
APPLICATION = range(0xE0, 0xF0)
COMMENT = 0xFE
# In the data of a scan: a stuffed octet, and restarts.
OF_THE_SCAN = {0x00, *range(0xD0, 0xD8)}
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
EXIF_HEADER = b"Exif\0\0"
ORIENTATION, SHORT = 0x0112, 3
UPRIGHT, ORIENTATIONS = 1, range(1, 9)
ENTRY = 12
TIFF_HEADER, JFIF_LENGTH = 8, 18


class NoJpeg(ValueError):
    """It is no JPEG file, or a broken one."""


def stripped(octets: bytes) -> bytes:
    """The file with its picture and its orientation alone.

    Raises:
        NoJpeg: the octets are no JPEG file from its beginning to the end of its picture.
    """
    orientation, kept, has_frame = UPRIGHT, bytearray(), False
    for marker, segment in _segments(octets):
        if marker == EXIF:
            orientation = _orientation(segment[4:]) if orientation == UPRIGHT else orientation
        elif marker in {JFIF, ADOBE} or marker not in {*APPLICATION, COMMENT}:
            # Of JFIF the beginning says how colours and units are meant; a thumbnail may follow.
            kept += segment if marker != JFIF else _without_thumbnail(segment)
            has_frame = has_frame or marker in FRAMES
    if not has_frame:
        raise NoJpeg("no frame")
    return b"\xff\xd8" + _exif_of(orientation) + bytes(kept) + b"\xff\xd9"


def _segments(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Each marker with its octets, a scan with its data; ends at the end of the first picture."""
    if octets[:2] != bytes((MARKER, START)):
        raise NoJpeg("no start of image")
    at = 2
    while True:
        while octets[at : at + 2] == b"\xff\xff":  # Fill.
            at += 1
        if at + 2 > len(octets) or octets[at] != MARKER:
            raise NoJpeg(f"no marker at {at}")
        marker = octets[at + 1]
        if marker == END:
            return
        if marker in OF_THE_SCAN or marker == START or at + 4 > len(octets):
            raise NoJpeg(f"marker {marker:02x} at {at}")
        end = at + 2 + int.from_bytes(octets[at + 2 : at + 4])
        if end > len(octets) or end < at + 4:
            raise NoJpeg(f"segment {marker:02x} at {at} is cut off")
        if marker == SCAN:
            end = _end_of_scan(octets, end)
        yield marker, octets[at:end]
        at = end


def _end_of_scan(octets: bytes, at: int) -> int:
    """Where the next marker stands."""
    while True:
        at = octets.find(b"\xff", at)
        if at < 0 or at + 1 >= len(octets):
            raise NoJpeg("the picture has no end")
        if octets[at + 1] not in OF_THE_SCAN and octets[at + 1] != MARKER:
            return at
        at += 1 if octets[at + 1] == MARKER else 2


def _without_thumbnail(segment: bytes) -> bytes:
    """JFIF's own segment of sixteen octets; what is none of JFIF's is left out."""
    if segment[4:9] != b"JFIF\0" or len(segment) < JFIF_LENGTH:
        return b""
    return b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0"


def _orientation(exif: bytes) -> int:
    """Which way up the picture is, 1 to 8, by the first directory; 1 where that says nothing that can be read."""
    tiff = exif.removeprefix(EXIF_HEADER)
    if tiff == exif or tiff[:4] not in {b"II*\0", b"MM\0*"}:
        return UPRIGHT
    order = "<" if tiff[:2] == b"II" else ">"
    at = unpack_from(f"{order}I", tiff, 4)[0] if len(tiff) >= TIFF_HEADER else len(tiff)
    if at + 2 > len(tiff):
        return UPRIGHT
    for entry in range(at + 2, at + 2 + ENTRY * unpack_from(f"{order}H", tiff, at)[0], ENTRY):
        if entry + ENTRY > len(tiff):
            break
        tag, kind, count, value = unpack_from(f"{order}HHIH", tiff, entry)
        if (tag, kind, count) == (ORIENTATION, SHORT, 1) and value in ORIENTATIONS:
            return value
    return UPRIGHT


def _exif_of(orientation: int) -> bytes:
    """A segment that says the orientation and nothing else; none for a picture that is upright."""
    if orientation == UPRIGHT:
        return b""
    directory = (1).to_bytes(2) + ORIENTATION.to_bytes(2) + SHORT.to_bytes(2) + (1).to_bytes(4)
    content = EXIF_HEADER + b"MM\0*" + (8).to_bytes(4) + directory + orientation.to_bytes(2) + bytes(6)
    return bytes((MARKER, EXIF)) + (len(content) + 2).to_bytes(2) + content
