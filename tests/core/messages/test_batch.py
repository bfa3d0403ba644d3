import pytest

from core.messages.batch import MAX_OCTETS, BatchDecoder, encode_batches

BYTES = BatchDecoder(bytes)


@pytest.mark.parametrize("length", [10, 4_000, MAX_OCTETS // 2 - 100])
def test_no_message_is_larger_than_the_bus_takes_and_the_order_stays(length: int) -> None:
    items = [bytes([number]) * length for number in range(100)]

    messages = list(encode_batches(items, 40))

    assert [item for message in messages for item in BYTES.decode(message)] == items
    assert all(len(message) <= MAX_OCTETS for message in messages)
    assert all(len(BYTES.decode(message)) <= 40 for message in messages)


def test_an_item_that_is_too_large_goes_alone() -> None:
    items = [b"small", bytes(2 * MAX_OCTETS), b"small"]

    messages = [BYTES.decode(message) for message in encode_batches(items, 40)]

    assert messages == [[item] for item in items]
