"""The bulk importer against a database, as the services are that run it."""

import json
import secrets
from dataclasses import dataclass

import pytest

from core.runtime.postgres import Pool, open_pool
from registry import outlines
from registry.bulk_imports import exports, runner, store
from registry.bulk_imports.kinds import KINDS, csv_lines
from registry.bulk_imports.runner import import_next
from registry.bulk_imports.store import ImportJob
from registry.keys import KeyWrap
from services.maintenance.app import WRITERS

KEYS = KeyWrap("kek-1", bytes(32))
APP_KEY = "000102030405060708090a0b0c0d0e0f"
CABINETS = """external_reference;name;insee;commune;latitude;longitude;contract_power_kva;pdl;phases
ARM-1;Armoire Marché;29103;Landerneau;48,45;-4,25;18,5;12345678901234;3
ARM-2;;29103;Landerneau;;;;;
ARM-2;Double;29103;Landerneau;;;;;
ARM-3;Armoire 3;29103;Landerneau;91;-4;;;
ARM-4;Armoire 4;29103;Landerneau;;;-3;;
ARM-5;Armoire 5;29999;;;;;;
ARM-6;Armoire Marché;29103;Landerneau;;;;;
"""
LAMPS = """external_reference,cabinet,name,lamp,power_w
PL-1,ARM-1,Candélabre,LED,36.5
PL-2,ARM-1,Candélabre,LED,36.5
PL-3,ARM-9,Candélabre,LED,36.5
PL-4,AUTRE-1,Candélabre,LED,36.5
"""


@dataclass(slots=True)
class Importing:
    """Imports files for a tenant, and runs them as maintenance does."""

    pool: Pool
    maintenance: Pool
    tenant_id: int

    async def request(self, kind: str, text: str, form: str = "csv", *, dry_run: bool = False) -> int:
        content = text.encode()
        async with self.pool.acquire() as connection, connection.transaction():
            job = await store.request_import(
                connection, self.tenant_id, requested_by="moi", kind=kind, format=form, coordinates="wgs84",
                dry_run=dry_run, file_name="f",
            )  # fmt: skip
            half = len(content) // 2
            for number, part in enumerate((content[:half], content[half:]), 1):
                assert await store.put_part(connection, KEYS, job.id, number, part)
            assert await store.start_import(connection, job.id)
        return job.id

    async def run(self, kind: str, text: str, form: str = "csv", *, dry_run: bool = False) -> ImportJob:
        job_id = await self.request(kind, text, form, dry_run=dry_run)
        await import_next(self.maintenance, KEYS, "maintenance-1", WRITERS)
        job = await store.read_import(self.pool, job_id)
        assert job is not None
        return job

    async def rejected(self, job: ImportJob) -> list[tuple[int, str, str]]:
        async with self.pool.acquire() as connection:
            found = [row.rejection for row in await store.list_rejections(connection, job.id)]
        return [(one.line, one.column, one.reason) for one in found]

    async def exported(self, kind: str) -> str:
        async with self.pool.acquire() as connection:
            rows = await exports.read_rows(connection, self.tenant_id, KINDS[kind], 0)
        return csv_lines([[one.name for one in KINDS[kind].columns], *(row.cells for row in rows)])


def counts(job: ImportJob) -> tuple[str, int, int, int, int]:
    return job.state, job.created, job.updated, job.unchanged, job.refused


@pytest.fixture
async def importing(database, pool: Pool):
    tenant_id = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('sdef', 'SDEF') RETURNING id")
    async with open_pool(database.url_of("maintenance"), "maintenance", size=2) as maintenance:
        yield Importing(pool, maintenance, tenant_id)


async def test_an_inventory_goes_in_once_its_wrong_lines_come_back_and_the_rest_is_in(
    importing: Importing, pool: Pool
) -> None:
    other = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('autre', 'Autre') RETURNING id")
    add = "INSERT INTO asset (tenant_id, kind, name, external_reference) VALUES ($1, 'lighting_cabinet', $2, $3)"
    await pool.execute(add, other, "À eux", "AUTRE-1")
    await pool.execute(add, importing.tenant_id, "ARM-2", None)  # From before there were references.

    tried = await importing.run("cabinets", CABINETS, dry_run=True)
    before = await pool.fetchval("SELECT count(*) FROM asset")
    first = await importing.run("cabinets", CABINETS)
    again = await importing.run("cabinets", CABINETS)
    lamps = await importing.run("light-points", LAMPS)
    exported = await importing.run("cabinets", await importing.exported("cabinets"))
    lamps_again = await importing.run("light-points", await importing.exported("light-points"))
    row = await pool.fetchrow("SELECT * FROM asset WHERE external_reference = 'ARM-1'")

    assert row is not None
    assert (counts(tried), before) == (("done", 1, 1, 0, 5), 2)
    assert counts(first) == ("done", 1, 1, 0, 5)
    assert await importing.rejected(first) == [
        (4, "external_reference", "déjà à la ligne 3"),
        (5, "latitude", "entre -90 et 90 attendu"),
        (6, "contract_power_kva", "entre 0.1 et 1000 attendu"),
        (7, "insee", "commune sans contour ici : ajoutez une colonne commune, ou les contours"),
        (8, "name", "« Armoire Marché » est déjà le nom d'une autre"),
    ]
    assert counts(again) == ("done", 0, 0, 2, 5)
    assert counts(lamps) == ("done", 2, 0, 0, 2)
    assert [one[:2] for one in await importing.rejected(lamps)] == [(4, "cabinet"), (5, "cabinet")]
    assert counts(exported) == ("done", 0, 0, 2, 0)
    assert counts(lamps_again) == ("done", 0, 0, 2, 0)
    assert (row["commune"], row["insee"], row["latitude"]) == ("Landerneau", "29103", 48.45)
    assert row["attributes"] == {"contract_power_kva": 18.5, "pdl": "**********1234", "phases": 3}
    async with pool.acquire() as connection:
        assert await store.confirm_import(connection, tried.id)
    await import_next(importing.maintenance, KEYS, "maintenance-1")
    confirmed = await store.read_import(pool, tried.id)
    assert confirmed is not None
    assert (counts(confirmed), confirmed.dry_run) == (("done", 0, 0, 2, 5), False)
    assert await pool.fetchval("SELECT count(*) FROM import_part") == 0
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'import.end'") == 7
    lamp = await pool.fetchrow(
        "SELECT l.commune, p.external_reference FROM asset l JOIN asset p ON p.id = l.parent_id "
        "WHERE l.external_reference = 'PL-1'"
    )
    assert tuple(lamp or ()) == ("Landerneau", "ARM-1")


async def test_communes_are_those_of_the_outlines_where_there_are_some(importing: Importing, pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO commune_outline (tenant_id, insee, name, polygons, west, south, east, north) "
        "VALUES ($1, '01004', 'Ambérieu', '[]', 0, 0, 1, 1), ($1, '29103', 'Landerneau', '[]', 0, 0, 1, 1)",
        importing.tenant_id,
    )
    text = "external_reference;insee;commune\nA;1004;\nB;;landerneau\nC;29104;\nD;;Landernau\nE;1004;Landerneau\n"

    job = await importing.run("cabinets", text)

    assert counts(job) == ("done", 2, 0, 0, 3)
    assert [tuple(row) for row in await pool.fetch("SELECT insee, commune FROM asset ORDER BY id")] == [
        ("01004", "Ambérieu"),
        ("29103", "Landerneau"),
    ]
    assert [one[1:] for one in await importing.rejected(job)] == [
        ("insee", "commune 29104 inconnue"),
        ("commune", "commune « Landernau » inconnue ; vouliez-vous dire Landerneau ?"),
        ("insee", "01004 est Ambérieu, et non Landerneau"),
    ]


async def test_devices_go_in_with_their_keys_sealed_and_no_key_comes_out(importing: Importing, pool: Pool) -> None:
    profile = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES ($1, 'Horloge', 'v', 'm', 'c') "
        "RETURNING id",
        importing.tenant_id,
    )
    await importing.run("cabinets", "external_reference;commune\nARM-1;Brest\n")
    euis = [secrets.token_hex(8) for _ in range(3)]
    text = "dev_eui;join_eui;device_profile;app_key;asset;name\n"
    text += f"{euis[0]};70b3d57ed0001000;Horloge;{APP_KEY};ARM-1;Horloge 1\n"
    text += f"{euis[1]};70b3d57ed0001000;Horloge;{APP_KEY};ARM-1;Horloge 2\n"
    text += f"{euis[2]};70b3d57ed0001000;Autre;{APP_KEY};;Horloge 3\n"
    text += f"zz;70b3d57ed0001000;Horloge;{APP_KEY}0;;Horloge 4\n"

    first = await importing.run("devices", text)
    again = await importing.run("devices", text)
    exported = await importing.exported("devices")
    kept = str([tuple(row) for row in await pool.fetch("SELECT * FROM import_rejection")])

    assert counts(first) == ("done", 1, 0, 0, 3)
    assert counts(again) == ("done", 0, 0, 1, 3)
    assert [one[:2] for one in await importing.rejected(first)] == [
        (3, "asset"), (4, "device_profile"), (5, "dev_eui"), (5, "app_key"),
    ]  # fmt: skip
    assert APP_KEY not in kept + exported
    assert f"{euis[0]};70b3d57ed0001000;Horloge 1;{profile};Horloge;" in exported
    assert counts(await importing.run("devices", exported)) == ("done", 0, 0, 1, 0)
    sealed = await pool.fetchval("SELECT app_key_wrapped FROM device WHERE tenant_id = $1", importing.tenant_id)
    assert bytes.fromhex(APP_KEY) not in sealed


async def test_a_job_whose_runner_died_goes_on_behind_its_last_batch_and_one_that_is_cancelled_ends(
    importing: Importing, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "AT_ONCE", 2)
    record = store.record_progress
    died_at = 4

    async def dies(connection, job_id, reached, *done):
        await record(connection, job_id, reached, *done)
        if reached >= died_at:
            raise ConnectionResetError  # With the transaction: its batch is lost.

    text = "external_reference;commune\n" + "".join(f"ARM-{number % 8};Brest\n" for number in range(9))
    job_id = await importing.request("cabinets", text)
    monkeypatch.setattr(store, "record_progress", dies)
    with pytest.raises(ConnectionResetError):
        await import_next(importing.maintenance, KEYS, "maintenance-1")
    stopped = await store.read_import(pool, job_id)
    monkeypatch.setattr(store, "record_progress", record)
    not_yet = await import_next(importing.maintenance, KEYS, "maintenance-2")
    await import_next(importing.maintenance, KEYS, "maintenance-1")
    done = await store.read_import(pool, job_id)

    async def cancels(connection, job_id, *progress):
        await record(connection, job_id, *progress)
        await connection.execute("UPDATE import_job SET state = 'cancelled' WHERE id = $1", job_id)

    monkeypatch.setattr(store, "record_progress", cancels)
    cancelled = await importing.run("cabinets", text.replace("ARM", "BRA"))
    # What another process runs keeps its parts, though its former runner thinks that it has ended it.
    monkeypatch.setattr(store, "record_progress", record)
    await importing.request("cabinets", text.replace("ARM", "CRO"))
    taken = await store.claim_import(importing.maintenance, "maintenance-2")
    assert taken is not None
    await store.end_import(importing.maintenance, taken, "maintenance-1", "done")
    await import_next(importing.maintenance, KEYS, "maintenance-2")
    went_on = await store.read_import(pool, taken.id)
    assert went_on is not None
    assert (went_on.state, went_on.created) == ("done", 8)

    assert stopped is not None
    assert (stopped.state, stopped.reached, stopped.created) == ("running", 2, 2)
    assert not_yet is None
    assert done is not None
    assert (counts(done), done.reached) == (("done", 8, 0, 0, 1), 9)
    assert await importing.rejected(done) == [(10, "external_reference", "déjà à la ligne 2")]
    assert (cancelled.state, cancelled.created, cancelled.reached) == ("cancelled", 2, 2)


async def test_a_file_that_cannot_be_read_fails_with_its_reason_and_a_quota_stops_what_is_beyond_it(
    importing: Importing, pool: Pool
) -> None:
    await pool.execute("INSERT INTO quota (tenant_id, kind, most) VALUES ($1, 'assets', 2)", importing.tenant_id)
    features = [
        {"type": "Feature", "properties": {"external_reference": f"A{n}", "commune": "Brest"}} for n in range(3)
    ]
    collection = json.dumps({"type": "FeatureCollection", "features": features})

    failed = await importing.run("cabinets", "external_refrence\nA\n")
    full = await importing.run("cabinets", collection, "geojson")

    assert (failed.state, "« external_reference »" in (failed.reason or "")) == ("failed", True)
    assert counts(full) == ("done", 2, 0, 0, 1)
    assert "quota" in (await importing.rejected(full))[0][2]


async def test_a_line_or_a_job_that_cannot_be_stored_stops_no_other_job_and_tenants_take_turns(
    importing: Importing, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Importing(
        pool,
        importing.maintenance,
        await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('autre', 'Autre') RETURNING id"),
    )
    named = {"external_reference": "A", "commune": "Brest", "street": "rue\0du Port"}
    collection = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": named}]}
    text = "external_reference;commune\nARM-1;Brest\n"

    refused = await importing.run("cabinets", json.dumps(collection), "geojson")
    write = store.write_assets

    async def cannot(*_args: object) -> None:
        raise KeyError(text)

    monkeypatch.setattr(store, "write_assets", cannot)
    failed = await importing.run("cabinets", text)
    monkeypatch.setattr(store, "write_assets", write)
    queued = [await importing.request("cabinets", text), await importing.request("cabinets", text)]
    queued.append(await other.request("cabinets", text))
    order = [job.id for _ in queued if (job := await import_next(importing.maintenance, KEYS, "maintenance-1"))]

    assert counts(refused) == ("done", 0, 0, 0, 1)
    assert [one[1] for one in await importing.rejected(refused)] == ["street"]
    assert (failed.state, failed.reason) == (
        "failed", "le serveur n'a pas pu lire ce fichier jusqu'au bout ; ce qui est écrit le reste",
    )  # fmt: skip
    assert order == [queued[2], *queued[:2]]
    # A long one lets another tenant's go first, and goes on behind its last batch.
    monkeypatch.setattr(runner, "AT_ONCE", 1)
    alone = await importing.run("cabinets", text + "ARM-2;Brest\nARM-3;Brest\n")
    await other.run("cabinets", text)
    monkeypatch.setattr(runner, "TURN_S", -1)
    record, steps = store.record_progress, list[tuple[int, int]]()

    async def records(connection, job_id: int, reached: int, *counted: int) -> None:
        steps.append((job_id, reached))
        await record(connection, job_id, reached, *counted)
        if len(steps) == 1:
            steps.append((await other.request("cabinets", text), 0))

    monkeypatch.setattr(store, "record_progress", records)
    long = await importing.request("cabinets", text + "ARM-2;Brest\nARM-3;Lanildut\n")
    order = [job.id for _ in "123" if (job := await import_next(importing.maintenance, KEYS, "maintenance-1"))]
    gave_way = await store.read_import(pool, long)
    short = steps[1][0]
    assert gave_way is not None
    assert order == [long, short, long]
    assert steps == [(long, 1), (short, 0), (short, 1), (long, 2), (long, 3)]
    assert [counts(alone), counts(gave_way)] == [("done", 2, 0, 1, 0), ("done", 0, 1, 2, 0)]


async def test_a_job_that_the_database_keeps_refusing_waits_behind_those_that_have_not_begun(
    importing: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "external_reference;commune\nARM-1;Brest\n"
    slow = await importing.request("cabinets", text)
    record = store.record_progress

    async def away(*_args: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(store, "record_progress", away)
    with pytest.raises(TimeoutError):
        await import_next(importing.maintenance, KEYS, "maintenance-1")
    monkeypatch.setattr(store, "record_progress", record)
    quick = await importing.request("cabinets", text)
    order = [job.id for _ in "12" if (job := await import_next(importing.maintenance, KEYS, "maintenance-1"))]

    assert order == [quick, slow]


async def test_files_of_the_last_trials_alone_are_kept(importing: Importing, pool: Pool) -> None:
    text = "external_reference;commune\nARM-1;Brest\n"
    jobs = [await importing.run("cabinets", text, dry_run=True) for _ in range(store.TRIALS_KEPT + 2)]

    kept = [row[0] for row in await pool.fetch("SELECT DISTINCT job_id FROM import_part ORDER BY 1")]
    assert kept == [job.id for job in jobs[2:]]


async def test_a_key_in_the_wrong_place_of_a_file_is_in_no_reason_no_refused_line_and_no_audit(
    importing: Importing, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    dashed = "-".join(APP_KEY[place : place + 2] for place in range(0, 32, 2))
    # Without its titles; with an unquoted semicolon, which moves it on; in columns of others.
    for text in (
        f"70b3d57ed0001234;{APP_KEY};Horloge\n70b3d57ed0001235;{APP_KEY};Horloge\n",
        f"dev_eui;name;app_key;position;asset\n70b3d57ed0001234;Rue; du Port;{APP_KEY};\n",
        f"dev_eui;app_key;asset\n70b3d57ed0001234;;{APP_KEY.upper()}\n",
        f"dev_eui;device_profile\n70b3d57ed0001234;{dashed}\n",
    ):
        job = await importing.run("devices", text)
        assert (job.state, job.refused) in {("failed", 0), ("done", 1)}

    kept = [
        await pool.fetch(f"SELECT t::text FROM {table} t") for table in ("import_job", "import_rejection", "audit")
    ]
    said = (str(kept) + "".join(capsys.readouterr())).lower().replace("-", "")
    assert said.count("70b3d57ed0001234") >= 3
    assert APP_KEY not in said


ASSETS = """kind;external_reference;name;commune;quarter;parent_kind;parent;attributes;latitude;longitude
glass_container;BV-1;Borne 1;Landerneau;Centre;;;"{""container"": {""empty_distance_mm"": 1700}}";;
room;R-1;Salle 1;;;building;B-1;;;
building;B-1;École;;;;;;48,45;-4,25
room;R-2;Salle 2;;;;B-1;;;
light_point;PL-9;;;;;;"{""lamp"": ""LED"", ""watts"": 3}";;
room;R-1;Double;;;;;;;
building;BV-1;Autre type;;;;;;;
"""
GATEWAYS = """gateway_id;name;site;latitude;longitude;backhaul;sim;purchase_cost_eur;yearly_cost_eur
0080e115000a9b72;Mairie;Clocher;48,45;-4,25;4G;8933150319;7500;500
0080e115000a9b73;;;;;pigeon;;;
0080e115000a9b74;;;48,45;;;;;
ffffffffffffffff;D'un autre;;;;;;;
"""
# A day in each of three forms, one without tx, one that is upside down, one that no calendar has, one that is hot.
WEATHER_DAYS = """station;day;tn;tx;source
29075001;2028-02-29;-2,4;6,1;Météo-France
29075001;20280301;0;8;Météo-France
29075001;02/03/2028;1,5;9;
29075001;2028-03-03;1,5;;
29075001;2028-03-04;9;1,5;
29075001;2027-02-29;1;2;
29075001;2028-03-05;1;61;
29075001;2028-02-29;3;4;deux fois
"""
# By local clocks, with seconds, with an offset; then no hour, an hour that no clock has, a weight of nothing.
WEIGHINGS = """ticket;stream;weighed_at;net_kg;round
B-1;glass;2026-07-01 14:05;8460;
B-2;glass;01/07/2026 16:10:30;7 990,5;
B-3;paper;2026-01-31T23:30+00:00;1200;
B-4;glass;2026-07-01;8460;
B-5;glass;2026-07-01 25:00;8460;
B-6;glass;2026-07-01 14:05;0;
B-7;Verre;2026-07-01 14:05;10;
"""
CONTACTS = """team;email;name;rung;after_minutes
Voirie;agent@ville.example;Agent;0;
Voirie;chef@ville.example;;1;45
Inconnue;x@ville.example;;;
Voirie;pas une adresse;;;
"""
RULES = """name;kind;quantity;severity;message;fire_op;fire_value;clear_op;clear_value;team;more
co2_ecoles;threshold;co2;warning;{asset} : {value};>;1500;<;1200;Voirie;"{""for_seconds"": 3}"
co2_salles;threshold;co2;warning;{asset} : {value};>;1500;<;1200;Voirie;LADDER
sans_seuil;threshold;co2;warning;{asset};;;;;;
sans_message;threshold;co2;warning;;>;1;<;0;;
""".replace("LADDER", '"{""ladder"": [{""severity"": ""major"", ""value"": 2000}]}"')


def outline(insee: str, name: str, west: float, *, is_crossed: bool = False) -> dict[str, object]:
    ring = [[west, 48.4], [west + 0.1, 48.4], [west + 0.1, 48.5], [west, 48.5], [west, 48.4]]
    if is_crossed:
        ring[1], ring[2] = ring[2], ring[1]
    properties = {"code_insee": insee, "nom_officiel": name, "population": 3}
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}


async def test_assets_gateways_contacts_rules_and_outlines_go_in_once_and_come_out_as_they_go_in(
    importing: Importing, pool: Pool
) -> None:
    await pool.execute("INSERT INTO team (tenant_id, name) VALUES ($1, 'Voirie')", importing.tenant_id)
    await pool.execute(
        "WITH t AS (INSERT INTO tenant (slug, name) VALUES ('autre-encore', 'Autre') RETURNING id) "
        "INSERT INTO gateway (tenant_id, gateway_id, name) SELECT id, $1, 'g' FROM t",
        b"\xff" * 8,
    )
    communes = {
        "type": "FeatureCollection",
        "features": [outline("29103", "Landerneau", -4.3), outline("29019", "Brest", -4.5, is_crossed=True)],
    }
    done = dict[str, tuple[int, int, list[tuple[int, str, str]]]]()
    # The outline comes last: what is there by then learns its commune from it.
    files = {
        "assets": ASSETS, "gateways": GATEWAYS, "contacts": CONTACTS, "rules": RULES,
        "weather-days": WEATHER_DAYS, "weighings": WEIGHINGS, "commune-outlines": json.dumps(communes),
    }  # fmt: skip
    for kind, text in files.items():
        form = "geojson" if kind == "commune-outlines" else "csv"
        tried = await importing.run(kind, text, form, dry_run=True)
        job = await importing.run(kind, text, form)
        again = await importing.run(kind, text, form)
        rejected = await importing.rejected(job)
        assert (tried.created, tried.refused) == (job.created, job.refused), kind
        assert (job.state, again.created, again.updated, again.unchanged) == ("done", 0, 0, job.created), kind
        exported = await importing.run(kind, await importing.exported(kind))
        assert (exported.created, exported.updated, exported.refused) == (0, 0, 0), kind
        done[kind] = (job.created, exported.unchanged, rejected)

    assert done["assets"][:2] == (4, 4)
    assert await pool.fetchval("SELECT quarter FROM asset WHERE name = 'Borne 1'") == "Centre"
    wrong = [(5, "parent_kind"), (6, "attributes"), (7, "external_reference")]
    assert sorted(one[:2] for one in done["assets"][2]) == wrong
    assert any("watts" in one[2] for one in done["assets"][2])
    assert done["gateways"] == (1, 1, [
        (3, "backhaul", "l'un de ethernet, fibre, dsl, 4g, 5g, wifi, satellite, other attendu"),
        (4, "longitude", "manque : elle va avec l'autre"),
        (5, "gateway_id", "cette passerelle est déjà enregistrée, chez une autre collectivité"),
    ])  # fmt: skip
    assert done["contacts"][0] == 2
    assert [one[:2] for one in done["contacts"][2]] == [(4, "team"), (5, "email")]
    assert done["rules"][0] == 1
    assert [one[:2] for one in done["rules"][2]] == [(2, "more"), (4, ""), (5, "message")]
    assert done["weather-days"][:2] == (3, 3)
    assert done["weather-days"][2][:4] == [
        (5, "tx", "manque : un jour sans les deux températures est un jour inconnu"),
        (6, "tn", "9 est au-dessus de tx, 1.5"),
        (7, "day", "jour attendu : 2026-01-31, 31/01/2026 ou 20260131"),
        (8, "tx", "entre -90 et 60 attendu"),
    ]
    assert [one[0] for one in done["weather-days"][2][4:]] == [9]
    found = await pool.fetch("SELECT day::text, tn, tx, source FROM weather_day ORDER BY day")
    assert [tuple(row) for row in found] == [
        ("2028-02-29", -2.4, 6.1, "Météo-France"),
        ("2028-03-01", 0, 8, "Météo-France"),
        ("2028-03-02", 1.5, 9, ""),
    ]
    assert done["weighings"][:2] == (3, 3)
    assert done["weighings"][2] == [
        (5, "weighed_at", "jour et heure attendus : 2026-01-31 14:05 ou 31/01/2026 14:05"),
        (6, "weighed_at", "heure attendue de 00:00 à 23:59"),
        (7, "net_kg", "entre 1 et 60000 attendu"),
        (8, "stream", "mot sans accent ni majuscule attendu"),
    ]
    found = await pool.fetch("SELECT ticket, weighed_at::text, net_kg FROM weighing ORDER BY ticket")
    assert [tuple(row) for row in found] == [
        ("B-1", "2026-07-01 12:05:00+00", 8460),
        ("B-2", "2026-07-01 14:10:30+00", 7990.5),
        ("B-3", "2026-01-31 23:30:00+00", 1200),
    ]
    assert done["commune-outlines"][0] == 1
    assert [one[:2] for one in done["commune-outlines"][2]] == [(2, "geometry")]
    assert "se croise lui-même" in done["commune-outlines"][2][0][2]
    await outlines.settle(importing.maintenance)
    found = await pool.fetch(
        "SELECT name, insee, commune_by_position FROM asset WHERE insee IS NOT NULL ORDER BY id"
    )
    assert [tuple(row) for row in found] == [("Borne 1", "29103", False), ("École", "29103", True)]
