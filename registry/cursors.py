"""Opaque cursors: where a reader of a list, or of the feed, goes on."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import TypeVar

import msgspec

Unpacked = TypeVar("Unpacked")


def packed(values: Sequence[object]) -> str:
    """Numbers and texts as an opaque cursor."""
    return urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def unpacked(cursor: str, shape: type[Unpacked]) -> Unpacked | None:
    """What `packed` made a cursor of; None: it is none of this shape."""
    try:
        return msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=shape)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return None


def feed_cursor(epoch: str, tenant_id: int, position: tuple[int, int, int]) -> str:
    """Of the feed: which database, which tenant, and after which entry."""
    return packed((epoch, tenant_id, *position))
