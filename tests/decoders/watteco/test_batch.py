"""Batches read back from a writer of our own, and what is no batch."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import Decoded, MalformedPayload
from decoders.watteco.batch import Layout, Series, read_batch
from decoders.watteco.bits import CLASSES, Bits, Sample
from decoders.watteco.products import PRODUCTS

NOW = 1_795_597_200_000_000
RANGES = {
    Sample.BOOLEAN: (0, 1),
    Sample.U8: (0, 2**8 - 1),
    Sample.U16: (0, 2**16 - 1),
    Sample.I16: (-(2**15), 2**15 - 1),
    Sample.U24: (0, 2**24 - 1),
    Sample.I24: (-(2**23), 2**23 - 1),
    Sample.U32: (0, 2**32 - 1),
    Sample.I32: (-(2**31), 2**31 - 1),
}
CODES = [{rank: pair for pair, rank in table.items()} for table in CLASSES]


class Writer:
    """Bits in the order of the air, from the lowest of each octet."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def number(self, value: int, size: int) -> None:
        """The highest octet comes first, and alone may be short."""
        octets: list[tuple[int, int]] = []
        while size > 0:
            octets.insert(0, (value & 0xFF, min(8, size)))
            value, size = value >> 8, size - 8
        for octet, taken in octets:
            self.bits += [octet >> bit & 1 for bit in range(taken)]

    def whole(self, sample: Sample, value: float) -> None:
        size = sample.value[0]
        if sample is Sample.FLOAT:
            self.number(int.from_bytes(struct.pack(">f", value)), size)
        else:
            self.number(int(value) & (1 << size) - 1, size)

    def huffman(self, rank: int, table: int) -> None:
        length, code = CODES[table][rank]
        self.bits += [code >> bit & 1 for bit in reversed(range(length))]

    def later(self, gap: int, table: int) -> None:
        """A delay: 0 is class 0, else the class whose first value is not above it."""
        rank = (gap + 1).bit_length() - 1
        self.huffman(rank, table)
        if rank:
            self.number(gap - (1 << rank) + 1, rank)

    def difference(self, steps: int, table: int) -> None:
        """A signed difference of so many resolutions (coding 0)."""
        rank = abs(steps).bit_length()
        self.huffman(rank, table)
        if rank:
            self.number(steps if steps > 0 else steps - 1 + (1 << rank), rank)

    def octets(self) -> bytes:
        padded = self.bits + [0] * (-len(self.bits) % 8)
        return bytes(
            sum(bit << place for place, bit in enumerate(padded[at : at + 8])) for at in range(0, len(padded), 8)
        )


def layout_of(sample: Sample, resolution: int) -> Layout:
    return Layout(2, (Series(1, "measure", sample, resolution, "pulse_count"),))


def separate(layout: Layout, start: int, first: int, steps: list[tuple[int, int]], table: int, sent: int) -> bytes:
    """One series with its own instants: (delay in seconds, steps of the resolution) after the first sample."""
    writer, series = Writer(), layout.series[0]
    writer.number(0x10, 8)
    writer.number(5, 3)
    writer.number(0, 1)
    writer.number(series.tag, layout.tag_bits)
    writer.number(start, 32)
    writer.whole(series.sample, first)
    writer.number(0, 2)
    writer.number(table, 2)
    writer.number(series.tag, layout.tag_bits)
    writer.number(len(steps), 8)
    if steps:
        writer.number(table, 2)
        for gap, step in steps:
            writer.later(gap, table)
            writer.difference(step, table)
    writer.later(sent, 1)
    return writer.octets()


@given(
    st.integers(1, 2**31),
    st.integers(-500, 500),
    st.lists(st.tuples(st.integers(0, 2**14), st.integers(-200, 200)), max_size=20),
    st.sampled_from([1, 10, 100]),
    st.integers(0, 2),
    st.integers(0, 2**14),
)
def test_reads_back_a_series(
    start: int, first: int, steps: list[tuple[int, int]], resolution: int, table: int, sent: int
) -> None:
    layout, decoded = layout_of(Sample.I32, resolution), Decoded()

    read_batch(layout, separate(layout, start, first, steps, table, sent), NOW, decoded)

    seconds, values = [0], [first]
    for gap, step in steps:
        seconds.append(seconds[-1] + gap)
        values.append(values[-1] + step * resolution)
    ends = seconds[-1] + sent
    assert [reading.value for reading in decoded.readings] == values
    assert [reading.time_us for reading in decoded.readings] == [NOW - (ends - at) * 1_000_000 for at in seconds]
    assert decoded.data["report"] == {"batch": True, "counter": 5}


@pytest.mark.parametrize("sample", RANGES, ids=lambda sample: sample.name)
@given(data=st.data())
def test_reads_a_whole_number_of_each_type(sample: Sample, data: st.DataObject) -> None:
    value, writer = data.draw(st.integers(*RANGES[sample])), Writer()
    writer.number(0b101, 3)
    writer.whole(sample, value)
    bits = Bits(writer.octets())
    bits.number(3)

    assert bits.sample(sample) == value


@given(st.floats(width=32, allow_nan=False))
def test_reads_a_whole_single(value: float) -> None:
    writer = Writer()
    writer.whole(Sample.FLOAT, value)

    assert Bits(writer.octets()).sample(Sample.FLOAT) == value


@pytest.mark.parametrize("table", [0, 1, 2])
@pytest.mark.parametrize("rank", range(16))
def test_reads_every_code_of_every_table(table: int, rank: int) -> None:
    writer = Writer()
    writer.huffman(rank, table)

    assert Bits(writer.octets()).huffman(table) == rank


def test_a_number_that_is_none_is_a_warning_and_no_reading() -> None:
    layout = layout_of(Sample.FLOAT, 1)
    decoded = Decoded()

    read_batch(layout, separate(layout, 1, float("nan"), [], 0, 0), NOW, decoded)  # type: ignore[arg-type]

    assert decoded.readings == []
    assert decoded.warnings == ["measure : le capteur n'envoie pas un nombre"]


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        ("10", "tronquée au bit 8"),
        ("1000", "n'a pas la mesure 0"),
        ("10f00000000000000000", "n'a pas la mesure 3"),
        ("20000000e008000000207e1c2042403004", "tronquée"),
    ],
)
def test_rejects_what_is_no_batch_of_the_product(octets: str, rule: str) -> None:
    layout = PRODUCTS["flasho"].batch if octets.startswith("20") else layout_of(Sample.U16, 1)
    assert layout is not None
    with pytest.raises(MalformedPayload, match=rule):
        read_batch(layout, bytes.fromhex(octets), NOW, Decoded())


WITH_BATCHES = [name for name, product in PRODUCTS.items() if product.batch is not None]


@given(st.sampled_from(WITH_BATCHES), st.binary(max_size=60))
def test_arbitrary_octets_raise_only_malformed_payload(name: str, payload: bytes) -> None:
    batch: Any = PRODUCTS[name].batch
    decoded = Decoded()
    try:
        read_batch(batch, payload, NOW, decoded)
    except MalformedPayload:
        return

    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()


def test_every_series_of_every_product_is_a_quantity_of_the_catalogue() -> None:
    named = {series.quantity for product in PRODUCTS.values() if product.batch for series in product.batch.series}
    named |= {meaning.quantity for product in PRODUCTS.values() for meaning in product.meanings.values()}

    assert named - {""} <= QUANTITIES.keys()
