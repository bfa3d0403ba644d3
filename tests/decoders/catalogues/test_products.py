import pytest

from decoders.catalogues.products import is_same_product, telling_part


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Milesight", "EM300-TH"), ("Milesight IoT", "em300_th")),
        (("nke Watteco", "Pulse Sens'O"), ("WATTECO", "Pulse SensO")),
        (("Dragino Technology Co., Ltd.", "LDDS75"), ("Dragino", "Dragino LDDS 75")),
        (("Boréal Capteurs", "Cuve"), ("boreal", "CUVE")),
    ],
)
def test_product_that_two_catalogues_write_differently_is_the_same(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert is_same_product(one, other)
    assert is_same_product(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Milesight", "EM300-TH"), ("Milesight", "EM300-DI")),
        (("Milesight", "EM300"), ("Milesight", "EM300-TH")),
        (("Elsys", "ERS"), ("Elvaco", "ERS")),
        (("Co", "X1"), ("Ltd", "X1")),
        (("Milesight", "温度"), ("Milesight", "湿度")),
        (("", "X1"), ("", "X1")),
    ],
)
def test_other_product_or_vendor_is_another(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert not is_same_product(one, other)


def test_search_is_for_the_part_that_is_not_the_vendors_name() -> None:
    assert telling_part("Milesight", "Milesight EM300-TH") == "em300"
    assert telling_part("X", "温度") == ""
