"""`territoire codec check` on a catalogue of our own devising in each of the four layouts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.in_process import Ran, territoire

pytestmark = pytest.mark.starts_processes

CATALOGUES = Path(__file__).parents[1] / "vectors" / "catalogues"


def check(path: Path, *options: str) -> Ran:
    return territoire("codec", "check", str(path), *options)


def checked(path: Path) -> dict[str, Any]:
    ran = check(path, "--json")
    assert ran.returncode in (0, 1), ran.stderr
    report = json.loads(ran.stdout)
    outcomes = [one["outcome"] for one in report["examples"]]
    assert [report[name] for name in ("passed", "failed", "skipped")] == [
        outcomes.count(name) for name in ("passed", "failed", "skipped")
    ]
    assert ran.returncode == (1 if report["failed"] else 0)
    return report


def not_passed(report: dict[str, Any]) -> dict[str, tuple[str, str, list[str]]]:
    return {
        one["name"]: (one["outcome"], one["reason"], one["differences"])
        for one in report["examples"]
        if one["outcome"] != "passed"
    }


def test_examples_of_the_things_network_are_checked() -> None:
    report = checked(CATALOGUES / "ttn")

    assert (report["passed"], report["failed"], report["skipped"]) == (9, 0, 3)
    rest = not_passed(report)
    assert rest["octets impossibles"][1] == "'333138383223663D77DB' n'est pas un octet"
    assert rest["le script n'est pas là"][1] == "fichier absent : vendor/boreal/perdu.js"
    assert "n'est pas du YAML lisible" in rest["casse-codec.yaml"][1]
    operations = [one["operation"] for one in report["examples"]]
    assert set(operations) == {"decodeUplink", "encodeDownlink", "decodeDownlink"}


def test_examples_of_actility_are_checked() -> None:
    report = checked(CATALOGUES / "actility")

    assert (report["passed"], report["failed"], report["skipped"]) == (10, 1, 1)
    assert not_passed(report) == {
        "l'exemple se trompe": (
            "failed",
            "la réponse n'est pas celle que le fabricant attend",
            ["data.level : attendu 1501, obtenu 1500"],
        ),
        "rien à exécuter": ("skipped", "fichier absent : vendors/boreal/drivers/fantome/index.js", []),
    }


def test_examples_of_chirpstack_are_checked() -> None:
    report = checked(CATALOGUES / "chirpstack")

    assert (report["passed"], report["failed"], report["skipped"]) == (4, 0, 1)
    assert not_passed(report)["test_decode_meteo.json 2"][1].startswith("ligne 7 : attendu une valeur")


def test_examples_of_milesight_are_checked() -> None:
    report = checked(CATALOGUES / "milesight")

    assert (report["passed"], report["failed"], report["skipped"]) == (2, 1, 1)
    assert not_passed(report)["README.md ligne 30"][2] == ["data.battery : attendu 100, obtenu 255"]


@pytest.mark.parametrize(
    ("part", "passed"),
    [
        ("ttn/vendor", 9),
        ("ttn/vendor/boreal", 9),
        ("ttn/vendor/boreal/niveau-1-codec.yaml", 6),
        ("actility/vendors/boreal/drivers/compteur", 1),
        ("chirpstack/vendors/boreal/codecs", 4),
        ("chirpstack/vendors/boreal/codecs/meteo.js", 3),
        ("milesight/bo-series/bo100", 2),
    ],
)
def test_a_part_of_a_catalogue(part: str, passed: int) -> None:
    assert checked(CATALOGUES / part)["passed"] == passed


def test_a_folder_that_was_copied_out_of_its_catalogue(tmp_path: Path) -> None:
    shutil.copytree(CATALOGUES / "actility/vendors/boreal/drivers/cuve", tmp_path / "cuve")

    assert checked(tmp_path / "cuve")["passed"] == 6


def test_says_what_differs_and_why_what_was_passed_over() -> None:
    ran = check(CATALOGUES / "milesight")

    assert ran.returncode == 1
    assert "échoué  sensordecoders.bo100 · decodeUplink · README.md ligne 30" in ran.stdout
    assert "        data.battery : attendu 100, obtenu 255" in ran.stdout
    assert "écarté  sensordecoders.bo200 · decodeUplink · README.md ligne 4 : aucun décodeur" in ran.stdout
    assert ran.stdout.endswith("2 réussis, 1 échoués, 1 écartés\n")


def test_a_script_that_never_ends_fails_alone(tmp_path: Path) -> None:
    shutil.copytree(CATALOGUES / "chirpstack", tmp_path / "c")
    codecs = tmp_path / "c/vendors/boreal/codecs"
    example = '[{"input": {"bytes": [], "fPort": 1}, "expected": {"data": 1}}]'
    (codecs / "boucle.js").write_text("function decodeUplink() { while (true) {} }")
    (codecs / "test_decode_boucle.json").write_text(example)
    (codecs / "lourd.js").write_text("function decodeUplink() { return { data: new Array(1e9).fill(0) }; }")
    (codecs / "test_decode_lourd.json").write_text(example)

    report = checked(tmp_path / "c")

    assert (report["passed"], report["failed"]) == (4, 2)
    reasons = {one["codec"]: one["reason"] for one in report["examples"] if one["outcome"] == "failed"}
    assert "100 ms" in reasons["chirpstack.boreal.boucle"]
    assert "mémoire" in reasons["chirpstack.boreal.lourd"]


@pytest.mark.parametrize("path", ["rien", "vide"])
def test_where_there_is_no_catalogue_the_status_is_2(tmp_path: Path, path: str) -> None:
    (tmp_path / "vide").mkdir()

    ran = check(tmp_path / path)

    assert ran.returncode == 2
    assert ran.stderr.startswith("territoire : ")
    assert ran.stdout == ""
