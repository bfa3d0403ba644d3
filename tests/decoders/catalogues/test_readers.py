"""Each layout as its catalogue writes it; the whole of one is in tests/cli/test_codec_check.py."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from decoders.catalogues import actility, chirpstack, milesight, ttn
from decoders.catalogues.files import Catalogue
from decoders.catalogues.layouts import layout_of
from decoders.catalogues.model import ImportedCodec, LorawanParameters, registry_name

Make = Callable[[Mapping[str, str | bytes]], Catalogue]
JS = "function decodeUplink(input) { return { data: {} }; }"


def one(codecs: Any) -> ImportedCodec:
    (codec,) = codecs
    return codec


@pytest.mark.parametrize(
    ("files", "layout"),
    [
        ({"acme/x-codec.yaml": "uplinkDecoder:\n  fileName: x.js\n"}, "ttn"),
        ({"x-codec.yaml": "# commentaire\nuplinkDecoder:\n  fileName: x.js\n"}, "ttn"),
        ({"driver.yaml": "name: x", "index.js": JS}, "actility"),
        ({"index.js": JS, "examples.json": "[]"}, "actility"),
        ({"codecs/x.js": JS}, "chirpstack"),
        ({"x.js": JS, "test_decode_x.json": "[]"}, "chirpstack"),
        ({"README.md": "```json\n// 0102\n{}\n```", "am1-decoder.js": JS}, "milesight"),
    ],
)
def test_a_folder_alone_is_recognised(catalogue: Make, files: dict[str, str], layout: str) -> None:
    made = catalogue(files)

    found = layout_of(made)

    assert found is not None
    assert found.name == layout
    assert len(list(found.read(made))) == 1


def test_a_folder_of_something_else_is_no_catalogue(catalogue: Make) -> None:
    assert layout_of(catalogue({"README.md": "# Rien", "app.js": JS, "x.yaml": "a: 1"})) is None


def test_ttn_codec_and_devices_of_several_firmwares(catalogue: Make) -> None:
    device = {
        "name": "Sonde",
        "firmwareVersions": [
            {"version": "1.0", "profiles": {"EU863-870": {"id": "p", "codec": "c"}}},
            {"version": "1.1", "profiles": {"EU863-870": {"id": "p", "codec": "c"}}},
            {"version": "2.0", "profiles": {"US902-928": {"id": "absent", "codec": "d"}}},
        ],
    }
    made = catalogue(
        {
            "vendor/acme/sonde.yaml": json.dumps(device, indent=1).replace(
                '"firmwareVersions"', "firmwareVersions"
            ),
            "vendor/acme/p.yaml": "macVersion: 1.0\nsupportsClassC: true\nsupportsJoin: false\nmaxEIRP: 13.9",
            "vendor/acme/c.yaml": "uplinkDecoder:\n  fileName: c.js",
            "vendor/acme/d.yaml": "uplinkDecoder:\n  fileName: c.js",
            "vendor/acme/c.js": JS,
        }
    )

    c, d = ttn.read(made, profiles=True)

    (profile,) = c.profiles
    assert (profile.vendor, profile.model) == ("acme", "Sonde")
    assert (profile.firmware_from, profile.firmware_until) == ("1.0", "1.1")
    assert profile.lorawan == LorawanParameters("C", "1.0", "", supports_join=False, max_eirp=14)
    (profile,) = d.profiles
    assert (profile.firmware_from, profile.firmware_until) == ("2.0", "")
    assert "absent" in profile.note


def actility_files(model: str, **radios: str) -> dict[str, str]:
    """A vendor of Actility's with one driver, one model and its radio profiles."""
    profiles = {f"vendors/v/profiles/{id_}.yaml": f"id: {id_}\n{said}" for id_, said in radios.items()}
    return {
        "vendors/v/drivers/d/driver.yaml": "protocolId: v:d:1",
        "vendors/v/drivers/d/index.js": JS,
        "vendors/v/models/m/model.yaml": f"name: M\nprotocolId: v:d:1\n{model}",
        **profiles,
    }


US = "loRaWANClass: A\nISMbands: us915\nmac:\n  loRaWANMacVersion: 1.0.2"
EU_C = (
    "loRaWANClass: C\nISMbands: in865, EU868\nmac:\n  loRaWANMacVersion: 1.0.4\n"
    "  regionalParameterVersion: RP2-1.0.1\n  minRx1Delay:\n  devicesTxPowerCapabilities:\n    maxTxEIRP:"
)


@pytest.mark.parametrize(
    "model",
    [
        "deviceProfileIds:\n- id: us\n- id: eu",
        "deviceProfileIds:\n  id: eu",
        "deviceProfileIds: [us, eu]",
        "deviceProfileId: [us, eu]",
        "deviceProfileId: eu",
        "deviceProfileId:\n- id: us\n- id: eu",
    ],
)
def test_actility_model_names_its_profiles_in_either_form_and_the_one_of_our_band_is_taken(
    catalogue: Make, model: str
) -> None:
    made = catalogue(actility_files(model, us=US, eu=EU_C))

    (profile,) = one(actility.read(made, profiles=True)).profiles

    assert profile.lorawan == LorawanParameters("C", "1.0.4", "RP2-1.0.1", supports_join=True, max_eirp=None)
    assert profile.note == ""
    assert made.lacking() == []


def test_actility_model_without_a_profile_of_our_band_says_whose_it_has(catalogue: Make) -> None:
    made = catalogue(actility_files("deviceProfileIds: [{id: us}, {id: gone}]", us=US.replace(": A", ": B")))

    (profile,) = one(actility.read(made, profiles=True)).profiles

    assert (profile.lorawan.device_class, profile.lorawan.mac_version) == ("A", "1.0.2")
    assert profile.note == "pas de profil EU868, repris de us915 ; classe B, servie en classe A"


def test_field_that_most_entries_lack_is_named_with_an_example(catalogue: Make) -> None:
    files = {
        **actility_files("profileIds: [{id: eu}]", eu=EU_C),
        "vendors/v/models/n/model.yaml": "name: N\ndeviceProfileIds:",
        "vendors/v/models/o/model.yaml": "name: O\ndeviceProfileIds: [{id: eu}]",
    }
    half = {**files, "vendors/v/models/p/model.yaml": "name: P\ndeviceProfileIds: [{id: eu}]"}
    most, exactly_half = catalogue(files), catalogue(half)

    for made in (most, exactly_half):
        list(actility.read(made, profiles=True))

    assert most.lacking() == ["deviceProfileIds manque à 2 sur 3 (vendors/v/models/m/model.yaml)"]
    assert exactly_half.lacking() == []


@pytest.mark.parametrize(
    ("read", "files", "field"),
    [
        (
            chirpstack.read,
            {
                "v/codecs/x.js": JS,
                "v/devices/x.toml": '[device]\n[[device.firmware]]\nradio = ["p.toml"]\ncodec = "x.js"',
            },
            "device.firmware.profiles",
        ),
        (
            chirpstack.read,
            {
                "v/codecs/x.js": JS,
                "v/devices/x.toml": '[device]\n[[device.firmware]]\nprofiles = ["p.toml"]\ncodec = "x.js"',
                "v/profiles/p.toml": '[profile]\nband = "EU868"\nmac_version = "1.0.3"\nsupports_class_c = true',
            },
            "profile.region",
        ),
        (
            ttn.read,
            {
                "vendor/v/d.yaml": "name: D\nfirmwareVersions:\n- profiles: {EU863-870: {id: p, codec: c}}",
                "vendor/v/c.yaml": "uplinkDecoder:\n  fileName: c.js",
                "vendor/v/c.js": JS,
                "vendor/v/p.yaml": "mac: 1.0.3\nsupportsJoin: true\nsupportsClassC: true",
            },
            "macVersion",
        ),
    ],
)
def test_every_layout_has_fields_that_it_requires(
    catalogue: Make, read: Any, files: dict[str, str], field: str
) -> None:
    made = catalogue(files)

    list(read(made, profiles=True))

    assert [lacking.split(" manque à 1 sur 1")[0] for lacking in made.lacking()] == [field]


def test_a_main_file_that_requires_others_becomes_one_script(catalogue: Make) -> None:
    made = catalogue(
        {
            "drivers/d/driver.yaml": "name: d",
            "drivers/d/index.js": 'const a = require("./lib");',
            "drivers/d/lib/index.js": "require('../../shared/x.json'); require('buffer')",
            "drivers/shared/x.json": '{"k": 1}',
        }
    )

    codec = one(actility.read(made))

    assert codec.wrong == ""
    assert '"drivers/shared/x.json": function' in codec.source
    assert codec.source.endswith('const a = require("./lib");')


def test_a_required_file_that_is_missing_is_left_to_the_script(catalogue: Make) -> None:
    source = f'// const lib = require("./lib");\n{JS}'
    made = catalogue({"d/driver.yaml": "name: d", "d/index.js": source})

    assert one(actility.read(made)).source == source


def test_actility_names_its_main_file_in_package_json(catalogue: Make) -> None:
    files = {
        "d/driver.yaml": "signature: ttn",
        "d/package.json": '{"main": "./dist/main.js"}',
        "d/examples.json": "[]",
    }

    assert one(actility.read(catalogue({**files, "d/dist/main.js": JS}))).source == JS
    assert one(actility.read(catalogue({**files, "d/index.js": JS}))).source == JS
    assert one(actility.read(catalogue(files))).wrong == "fichier absent : d/dist/main.js"
    assert one(actility.read(catalogue(files))).form == "Decoder"


def test_examples_that_cannot_be_read_say_so_and_the_others_are_there(catalogue: Make) -> None:
    good = '{"type": "uplink", "input": {"bytes": "0x01 ff", "fPort": 1}, "output": {"data": 1}}'
    made = catalogue(
        {
            "d/driver.yaml": "name: d",
            "d/index.js": JS,
            "d/examples.json": f'[{good}, {{"type": "météo"}}, 7, {{"type": "uplink"}}, {{"x": f()}}, {good},]',
        }
    )

    examples = one(actility.read(made)).examples

    assert [example.wrong == "" for example in examples] == [True, False, False, False, False, True]
    assert examples[0].input == {"bytes": [1, 255], "fPort": 1}


def test_half_a_character_becomes_one_that_can_be_written(catalogue: Make) -> None:
    made = catalogue({"x.json": '["\\ud800", "\\ud83d\\ude00"]'})

    half, whole = made.json("x.json")

    assert half.encode()
    assert whole == "\U0001f600"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf[]", b"", b"\xff\xfe", b"{", b'"x"', b"null"])
def test_no_file_of_examples_stops_the_reading(catalogue: Make, content: bytes) -> None:
    for files in (
        {"d/driver.yaml": "name: d", "d/index.js": JS, "d/examples.json": content},
        {"codecs/x.js": JS, "codecs/test_decode_x.json": content, "codecs/test_encode_x.json": content},
        {"x/x-decoder.js": JS, "x/README.md": content, "x/x-codec.json": content},
        {
            "v/index.yaml": content,
            "v/c.yaml": "uplinkDecoder:\n  fileName: c.js",
            "v/c.js": JS,
            "v/d.yaml": content,
        },
    ):
        made = catalogue(files)
        found = layout_of(made)
        assert found is not None
        (codec,) = found.read(made, profiles=True)
        assert codec.source == JS
        assert all(example.wrong for example in codec.examples)


def test_chirpstack_tests_name_a_codec_that_is_missing(catalogue: Make) -> None:
    test = '[{name: "t", input: {bytes: [1], fPort: 1}, expected: {data: {}}}]'

    codec = one(chirpstack.read(catalogue({"v/codecs/test_decode_x.json": test})))

    assert codec.wrong == "fichier absent : v/codecs/x.js"
    assert len(codec.examples) == 1


CHIRPSTACK_TEST = "[{input: {bytes: [1], fPort: 1}, expected: {data: {}, bytes: [1]}}]"


def chirpstack_owners(catalogue: Make, *files: str) -> dict[str, list[tuple[str, str]]]:
    """What each codec of these files has for examples: the operation, and why it cannot be run."""
    made = catalogue({f"v/codecs/{name}": JS if name.endswith(".js") else CHIRPSTACK_TEST for name in files})
    return {
        codec.name.removeprefix("chirpstack.v."): [
            (example.operation, example.wrong) for example in codec.examples
        ]
        for codec in chirpstack.read(made)
    }


def test_chirpstack_tests_belong_to_the_script_whose_name_they_begin(catalogue: Make) -> None:
    owners = chirpstack_owners(
        catalogue,
        "dl-pr36-8192.js",
        "dl-pr36ctd-8192-1024.js",
        "dl-pr21.js",
        "dl-pr21-1-10.js",
        "test_decode_dl-pr36.json",
        "test_encode_dl-pr36.json",
        "test_decode_dl-pr36ctd.json",
        "test_decode_dl-pr21.json",
        "test_decode_dl-pr21-1.json",
    )

    assert {name: [operation for operation, _ in of] for name, of in owners.items()} == {
        "dl-pr21": ["decodeUplink"],
        "dl-pr21-1-10": ["decodeUplink"],
        "dl-pr36-8192": ["decodeUplink", "encodeDownlink"],
        "dl-pr36ctd-8192-1024": ["decodeUplink"],
    }
    assert all(wrong == "" for of in owners.values() for _, wrong in of)


def test_chirpstack_tests_that_several_scripts_could_have_are_passed_over_and_make_no_codec(
    catalogue: Make,
) -> None:
    owners = chirpstack_owners(catalogue, "em300-th.js", "em300-di.js", "em300v2.js", "test_decode_em300.json")

    assert owners == {
        "em300-di": [("decodeUplink", "test_decode_em300.json peut être aussi de em300-th.js")],
        "em300-th": [],
        "em300v2": [],
    }


def test_milesight_keeps_decoder_and_encoder_apart_in_one_script(catalogue: Make) -> None:
    made = catalogue(
        {
            "am/am1/am1-decoder.js": JS,
            "am/am1/am1-encoder.js": "function encodeDownlink() {}",
            "am/am1/am1-cellular-decoder.js": "autre",
            "am/am1/README.md": "```JSON\n// 01 02 03ff\n{ 'a': 1, } // fin\n\n// 04\n[1]\n```\n"
            "// 05\n```sh\n// 06\n```",
        }
    )

    codec = one(milesight.read(made))

    assert codec.source.startswith(JS)
    assert "(function () {\nfunction encodeDownlink() {}" in codec.source
    assert [(example.input["bytes"], example.expected) for example in codec.examples] == [
        ([1, 2, 3, 255], {"data": {"a": 1}}),
        ([4], {"data": [1]}),
    ]
    assert codec.examples[0].input["fPort"] == 85


def test_an_older_milesight_decoder_is_named_after_the_network_server(catalogue: Make) -> None:
    made = catalogue(
        {
            "EM300/EM300_TTN.js": JS,
            "EM300/EM300_Encoder.js": "var e",
            "EM300/README.md": "```json\n// 01\n{}\n```",
        }
    )

    codec = one(milesight.read(made))

    assert codec.name == "sensordecoders.em300"
    assert codec.source.startswith(JS)


def test_a_model_without_a_script_is_distinguished_from_one_that_is_broken(catalogue: Make) -> None:
    described = {
        "v/drivers/a/driver.yaml": "name: a",
        "v/drivers/b/driver.yaml": "name: [",
        "v/drivers/b/index.js": JS,
    }

    a, b = actility.read(catalogue(described))

    assert (a.is_missing, a.source, b.is_missing, b.source) == (True, "", False, JS)


def test_a_part_of_a_catalogue_is_read_alone(catalogue: Make) -> None:
    files = {f"{v}/codecs/{c}.js": JS for v in ("a", "b") for c in ("x", "y")}
    made = catalogue(files)

    assert len(list(chirpstack.read(made))) == 4
    assert [codec.name for codec in chirpstack.read(made, "b")] == ["chirpstack.b.x", "chirpstack.b.y"]
    assert [codec.name for codec in chirpstack.read(made, "b/codecs/y.js")] == ["chirpstack.b.y"]


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("Boréal Capteurs", "Niveau/3"), "bor-al-capteurs.niveau-3"),
        (("milesight", "WS136&WS156"), "milesight.ws136-ws156"),
        (("", "atm'o_v1.1"), "atm-o_v1-1"),
        (("é",), "codec"),
        (("x" * 80, "y"), "x" * 63),
    ],
)
def test_names_of_the_registry(parts: tuple[str, ...], name: str) -> None:
    assert registry_name(*parts) == name
