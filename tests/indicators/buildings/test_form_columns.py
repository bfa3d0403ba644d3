"""Forms as files: ours are read, an operator's takes their place, and what is wrong in one is said in French."""

from datetime import date
from pathlib import Path

import pytest

from indicators.buildings.amounts import year_total
from indicators.buildings.form_columns import FIGURES, TO_VERIFY, InvalidForm, parse_form, read_forms

GOOD = """
title = "Le mien"
status = "comparé au modèle du 3 mars"
as_of = 2027-03-03
source = "le modèle"
[[columns]]
name = "EFA"
figure = "building"
"""


def test_ours_are_dated_have_a_source_and_are_to_be_verified() -> None:
    forms = read_forms()

    assert forms.keys() == FIGURES.keys()
    for form in forms.values():
        assert (form.status, form.as_of >= date(2026, 11, 28), bool(form.source)) == (TO_VERIFY, True, True)
        assert "conforme" not in form.title.lower() + form.status


def test_an_operators_file_takes_the_place_of_ours_and_leaves_the_other(tmp_path: Path) -> None:
    (tmp_path / "operat.toml").write_text(GOOD, "utf-8")

    forms = read_forms(tmp_path)

    assert [(one.name, one.figure) for one in forms["operat"].columns] == [("EFA", "building")]
    assert forms["schools"] == read_forms()["schools"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("figure = ", "figur = "), "colonne 1 : clé inconnue « figur »"),
        (('"building"', '"kwh"'), "colonne 1 : chiffre inconnu « kwh » ; connus : asset_id, building"),
        (("2027-03-03", '"hier"'), "« as_of » est un jour"),
        (('title = "Le mien"', ""), "« title » est un texte"),
        (("title = ", "title == "), "ce n'est pas du TOML"),
        (("status", "conforme = true\nstatus"), "clé inconnue « conforme »"),
        (('name = "EFA"', "name = 3"), "colonne 1 : « name » et « figure » attendus"),
        (("[[columns]]", "[columns]"), "il faut au moins une colonne"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_french(change: tuple[str, str], said: str) -> None:
    with pytest.raises(InvalidForm, match=r"operat\.toml") as wrong:
        parse_form("operat", GOOD.replace(*change))

    assert said in str(wrong.value)


def test_a_column_twice_and_a_folder_without_forms_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InvalidForm, match="« EFA » y est deux fois"):
        parse_form("operat", GOOD + GOOD[GOOD.index("[[") :])
    with pytest.raises(InvalidForm, match="aucun formulaire dans"):
        read_forms(tmp_path)


def test_a_year_has_a_total_when_each_of_its_months_is_whole() -> None:
    assert year_total([(10.0, True)] * 12) == 120
    assert year_total([(10.0, True)] * 11) is None
    assert year_total([(10.0, True)] * 11 + [(10.0, False)]) is None
    assert year_total([(10.0, True)] * 11 + [(None, False)]) is None
