"""Files as spreadsheets and geographic information systems write them, and those that are none."""

import json
import tracemalloc

import pytest

from registry.bulk_imports.cells import read_values
from registry.bulk_imports.files import Line, UnreadableFile, read_table
from registry.bulk_imports.kinds import KINDS, csv_lines, harmless, model_file, read_columns
from registry.bulk_imports.plan import Reader

CABINETS = KINDS["cabinets"]
LAMPS = KINDS["light-points"]


def values(octets: bytes, kind=CABINETS, form: str = "csv", coordinates: str = "wgs84") -> list[dict]:
    table = read_table(octets, kind, form, coordinates)
    read = [read_values(table.header, line.cells, read_columns(kind)) for line in table.lines]
    assert [one.wrong for one in read] == [[] for _ in read]
    assert table.count == len(read)
    return [one.given for one in read]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize(("delimiter", "comma"), [(";", ","), (",", "."), ("\t", ",")])
def test_a_file_reads_the_same_whatever_wrote_it(encoding: str, delimiter: str, comma: str) -> None:
    text = delimiter.join(["External_Reference", "name", "latitude", "longitude", "contract_power_kva"])
    text += "\r\n" + delimiter.join(
        ["ARM-1", '"Armoire « École »"', f"48{comma}45", f"-4{comma}25", f"1 000{comma}0"]
    )

    assert values(text.encode(encoding)) == [
        {
            "external_reference": "ARM-1",
            "name": "Armoire « École »",
            "latitude": 48.45,
            "longitude": -4.25,
            "contract_power_kva": 1000,
        }
    ]


def test_geojson_has_its_place_in_degrees_or_in_lambert_93() -> None:
    def document(crs: object, place: list[float]) -> bytes:
        feature = {
            "type": "Feature",
            "properties": {"external_reference": 12, "power_w": 36.5, "OBJECTID": 7, "pole": None},
            "geometry": {"type": "Point", "coordinates": place},
        }
        return json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}).encode()

    lambert = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2154"}}
    place, wgs = [652_215.52, 6_861_681.77], [2.35, 48.85]

    for crs, coordinates, given, found in (
        (None, "wgs84", wgs, {"longitude": 2.35, "latitude": 48.85}),
        (None, "lambert93", place, {"x": place[0], "y": place[1]}),
        (lambert, "wgs84", place, {"x": place[0], "y": place[1]}),
    ):
        read = values(document(crs, given), LAMPS, "geojson", coordinates)
        assert read == [{"external_reference": "12", "power_w": 36.5} | found]
    with pytest.raises(UnreadableFile, match="WGS 84 ou Lambert-93"):
        read_table(document({"properties": {"name": "EPSG:27572"}}, place), LAMPS, "geojson", "wgs84")


@pytest.mark.parametrize(
    ("octets", "form", "reason"),
    [
        (b"", "csv", "est vide"),
        (b" \n ", "geojson", "est vide"),
        (b"PK\x03\x04\x14\0", "csv", "enregistrez-le en CSV"),
        (b"\x89PNG\r\n\x1a\n\0\0", "csv", "pas un fichier de texte"),
        (b"external_reference\n\x81\x8d\n", "csv", "ni en UTF-8, ni en CP1252"),
        (b"external_refrence;name\nA;B\n", "csv", "vouliez-vous dire « external_reference »"),
        (b"name;street\nA;B\n", "csv", "la colonne external_reference manque"),
        (b"external_reference;name;name\nA;B;C\n", "csv", "en double : name"),
        (b"external_reference;name\n", "csv", "pas de ligne"),
        (b"external_reference\n" + b"x" * 25_000_000, "csv", "la ligne 2 d.passe 64000"),
        (b"x" * 25_000_000, "csv", "la ligne 1 d.passe 64000"),
        (b'external_reference;name\nA;"' + b"x\n" * 100_000, "csv", "ligne 2 : ce n'est pas du CSV"),
        (b"[" * 100_000, "geojson", "pas du GeoJSON"),
        (b'{"type": "Feature"}', "geojson", "FeatureCollection"),
        (
            b'{"type": "FeatureCollection", "features": [{"properties": {"external_refrence": 1}}]}',
            "geojson",
            "vouliez-vous dire « external_reference »",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(octets: bytes, form: str, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        list(read_table(octets, CABINETS, form, "wgs84").lines)


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("latitude", "91", "entre -90 et 90"),
        ("latitude", "nan", "nombre attendu"),
        ("longitude", "1e99", "entre -180 et 180"),
        ("contract_power_kva", "-3", "entre 0.1 et 1000"),
        ("phases", "2", "1 ou 3"),
        ("phases", "1,5", "nombre entier"),
        ("pdl", "123", "14 chiffres"),
        ("insee", "Brest", "code INSEE"),
        ("tags", "Éclairage", "mots sans accent"),
        ("name", "x" * 201, "200 caractères au plus"),
        ("external_reference", "a\x07b", "caractères de contrôle"),
    ],
)
def test_a_cell_that_is_wrong_says_why(column: str, cell: str, reason: str) -> None:
    [(name, why)] = read_values((column,), [cell], read_columns(CABINETS)).wrong

    assert name == column
    assert reason in why


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_geometry_has_no_number_that_no_database_stores(number: str) -> None:
    cell = f'{{"type":"Polygon","coordinates":[[[{number},48.42],[-4.2,48.42],[-4.2,48.48]]]}}'

    [(name, why)] = read_values(("geometry",), [cell], read_columns(KINDS["commune-outlines"])).wrong

    assert (name, why) == ("geometry", "objet JSON attendu")


@pytest.mark.parametrize("name", KINDS)
def test_a_model_file_is_one_that_goes_in(name: str) -> None:
    assert values(model_file(KINDS[name]).encode(), KINDS[name])


def test_a_cell_that_a_spreadsheet_would_run_comes_back_as_it_was() -> None:
    odd = ["=1+1", "@x", "-4,25", "+33 2 98", "-moins", "'=x"]
    text = csv_lines([["external_reference", "name"], *([f"R{n}", harmless(cell)] for n, cell in enumerate(odd))])

    assert [line.cells[1] for line in read_table(text.encode(), CABINETS, "csv", "wgs84").lines] == [
        *odd[:5],
        "=x",
    ]


@pytest.mark.parametrize(
    "document",
    [
        '{"type":"FeatureCollection","features":[' + "0," * 700_000 + "0]}",
        '{"type":"FeatureCollection","features":[' + "{}," * 2_000_001 + "{}]}",
        '{"type":"FeatureCollection","crs":{"a":[' + "[]," * 400_000 + '[]]},"features":[{}]}',
        '{"type":"FeatureCollection","features":[{"properties":{"a":[' + "[]," * 400_000 + "[]]}}]}",
    ],
    ids=["numbers", "empty", "coordinates", "properties"],
)
def test_geojson_that_would_fill_the_memory_is_none(document: str) -> None:
    octets = document.encode()
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableFile):
            read_table(octets, CABINETS, "geojson", "wgs84")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10 << 20


def test_a_refused_line_is_kept_with_few_reasons_and_short_cells() -> None:
    columns = read_columns(LAMPS)
    header = tuple(columns)
    line = Line(2, ["\x01" + "a" * 60_000 for _ in header])

    _, rejections = Reader(LAMPS, header, columns).read([line])

    assert [one.column for one in rejections] == ["external_reference", "circuit", "cabinet", "name", "lamp"]
    assert max(len(cell) for one in rejections for cell in one.cells) == 300


@pytest.mark.parametrize(
    ("octets", "form", "reason"),
    [
        (b"external_reference;na\rme\nARM-1;x\n", "csv", "ligne 1 : ce n'est pas du CSV"),
        (
            b'{"type":"FeatureCollection","features":[{"properties":{"external_reference":"\xe9"}}]}',
            "geojson",
            "objet 1 : ce n'est pas du GeoJSON",
        ),
        (
            (
                b'{"type":"FeatureCollection","features":[{"properties":{"external_reference":"A"}},'
                b'{"properties":{"external_reference":"\xe9"}}]}'
            ),
            "geojson",
            "objet 2 : ce n'est pas du GeoJSON",
        ),
    ],
)
def test_a_file_that_fuzzing_found_is_rejected_with_its_line(octets: bytes, form: str, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        list(read_table(octets, CABINETS, form, "wgs84").lines)
