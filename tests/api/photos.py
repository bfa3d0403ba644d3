"""A photo as small as they get: one grey pixel, encoded by libjpeg."""

ONE_PIXEL = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300" + "10" * 64 + "ffc0000b080001000101011100"
    "ffc40014000100000000000000000000000000000009ffc40014100100000000000000000000000000000000"
    "ffda0008010100003f0054dfffd9"
)


def jpeg(*, exif: bytes = b"", behind: bytes = b"") -> bytes:
    """The photo, with what a camera writes into it and behind it."""
    segment = b"\xff\xe1" + (len(exif) + 8).to_bytes(2) + b"Exif\0\0" + exif if exif else b""
    return ONE_PIXEL[:2] + segment + ONE_PIXEL[2:] + behind
