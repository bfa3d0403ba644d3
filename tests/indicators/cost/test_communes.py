"""A contributor is found under the ways in which a commune is written."""

import pytest

from indicators.cost.communes import is_commune


@pytest.mark.parametrize(
    ("contributor", "commune"),
    [
        ("Landerneau", "Landerneau"),
        ("LANDERNEAU", "Landerneau"),
        ("Ville de Landerneau", "Landerneau"),
        ("Commune de  Plouzane", "Plouzané"),
        ("Mairie d'Ouessant", "Ouessant"),
        ("Mairie d\N{RIGHT SINGLE QUOTATION MARK}Ouessant", "Ouessant"),
        ("Ville du Relecq-Kerhuon", "Le Relecq-Kerhuon"),
        ("Commune des Ulis", "Les Ulis"),
        ("Commune de La Forest-Landerneau", "La Forest-Landerneau"),
        ("Commune de l'Haÿ-les-Roses", "L'Haÿ-les-Roses"),
    ],
)
def test_a_contributor_is_its_commune(contributor: str, commune: str) -> None:
    assert is_commune(contributor, commune)


@pytest.mark.parametrize(
    ("contributor", "commune"),
    [
        ("Commune de La Forest-Landerneau", "Landerneau"),
        ("Ville de Landerneau", "La Forest-Landerneau"),
        ("Communauté de communes du Pays de Landerneau", "Landerneau"),
        ("Ville de Saint-Divy", "Saint-Div"),
        ("", "Brest"),
    ],
)
def test_another_is_not(contributor: str, commune: str) -> None:
    assert not is_commune(contributor, commune)
