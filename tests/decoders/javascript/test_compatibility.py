# ruff: noqa: E501 - A script is easier to read on its one line.
"""The rules under which scripts written for other engines run here (docs/decoders-javascript.md)."""

import pytest

from decoders.javascript.inputs import downlink_input
from decoders.javascript.pool import Call, CodecPool, Script
from tests.decoders.javascript.conftest import RECEIVED_US, Decode, uplink

RETURNS = "return {data: {via: "

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def pool(shared_pool: CodecPool) -> CodecPool:
    """No script here breaks its worker, and each has a context of its own."""
    return shared_pool


@pytest.mark.parametrize(
    ("source", "via"),
    [
        ("function decodeUplink(input) { return {data: {via: 'global'}} }", "global"),
        ("const decodeUplink = (input) => ({data: {via: 'const'}})", "const"),
        ("var driver = {decodeUplink(input) { return {data: {via: this === driver ? 'driver' : 'lost'}} }}", "driver"),
        ("module.exports = {decodeUplink() { return {data: {via: this === module.exports ? 'module' : 'lost'}} }}", "module"),
        ("exports.decodeUplink = () => ({data: {via: 'exports'}})", "exports"),
        ("module.exports.driver = {decodeUplink: () => ({data: {via: 'module.driver'}})}", "module.driver"),
        ("exports.driver = {decodeUplink: () => ({data: {via: 'exports.driver'}})}", "exports.driver"),
        ("var exports = {driver: {decodeUplink: () => ({data: {via: 'own exports'}})}}", "own exports"),
        ("function decodeUplink() { return {data: {via: 'global'}} } var driver = {decodeUplink() { throw 1 }}", "global"),
        ("var driver = {decodeUplink() { return {data: {via: 'driver'}} }}; exports.decodeUplink = () => { throw 1 }", "driver"),
        # TS013 goes before the others wherever it is.
        ("function Decoder() { throw 1 } exports.decodeUplink = () => ({data: {via: 'TS013'}})", "TS013"),
        ("function Decoder(bytes, port) { return {via: 'Decoder ' + bytes[0] + ' ' + port} }", "Decoder 1 1"),
        ("function Decode(fPort, bytes, variables) { return {via: 'Decode ' + fPort + ' ' + bytes[0] + ' ' + variables.a} }", "Decode 1 1 A"),
        ("function decodeUplink() { return {data: {via: this === globalThis ? 'sloppy' : 'strict'}} }", "sloppy"),
        ("undeclared = 'sloppy'; function decodeUplink() { return {data: {via: undeclared}} }", "sloppy"),
        ("function twice(a, a) {} function twice() {} function decodeUplink() { with ({x: 'with'}) { return {data: {via: x}} } }", "with"),
    ],
)  # fmt: skip
async def test_a_decoder_is_found_and_called_as_elsewhere(decode: Decode, source: str, via: str) -> None:
    answer = await decode(source, variables={"a": "A"})

    assert (answer.problem, answer.output) == (None, {"data": {"via": via}})


@pytest.mark.parametrize(("form", "via"), [("decodeUplink", 1), ("Decoder", 2), ("Decode", 3), (None, 1)])
async def test_a_profile_may_force_a_form(pool: CodecPool, form, via: int) -> None:
    source = (
        "function Decode() { return {via: 3} } function Decoder() { return {via: 2} }"
        "function decodeUplink() { return {data: {via: 1}} }"
    )

    (answer,) = await pool.call([uplink(Script(f"forms/{form}", source, form))])

    assert answer.output == {"data": {"via": via}}


async def test_an_entry_point_that_a_script_lacks_is_reported(pool: CodecPool) -> None:
    (answer,) = await pool.call([uplink(Script("x", "function Decoder() { return {} }", "Decode"))])

    assert (answer.failure, answer.reason) == ("script", "Le codec n'a pas de fonction decodeUplink")


@pytest.mark.parametrize(
    ("result", "output", "errors"),
    [
        ("{temperature: 21}", {"temperature": 21}, []),
        ("{data: {temperature: 21}}", {"temperature": 21}, []),
        ("{data: [{variable: 'a', value: 1}]}", [{"variable": "a", "value": 1}], []),
        ("[1, 2]", [1, 2], []),
        ("{data: null}", None, []),
        ("null", None, []),
        ("undefined", None, []),
        ("{}", {}, []),
        ("{data: {a: 1}, errors: ['mauvaise trame']}", {"a": 1}, ["mauvaise trame"]),
        ("{errors: 'mauvaise trame'}", None, ["mauvaise trame"]),
        ("{error: 'mauvaise trame'}", None, ["mauvaise trame"]),
        ("{errors: []  , data: {a: 1}}", {"a": 1}, []),
        ("{errors: [new Error('x'), {a: 1}, 5]}", None, ["Error: x", '{"a":1}', "5"]),
        ("{data: {d: new Date(Date.UTC(2020, 0, 2)), u: undefined, f() {}, b: 12n, s: Symbol('s')}}", {"d": "2020-01-02T00:00:00.000Z", "b": "12"}, []),
        ("{data: {nan: NaN, ok: [1, Infinity]}}", {"ok": [1, None]}, []),
        ("{data: {b: Buffer.from([1, 2])}}", {"b": {"type": "Buffer", "data": [1, 2]}}, []),
        ("{data: {t: 'a\\u0000b\\ud800'}}", {"t": "a\0b\ufffd"}, []),
        ("{data: {minus: -0, big: 1e21, small: 1e-9}}", {"minus": 0, "big": 1e21, "small": 1e-9}, []),
        ("{data: Object.create({inherited: 1}, {own: {value: 2, enumerable: true}, hidden: {value: 3}})}", {"own": 2}, []),
    ],
)  # fmt: skip
async def test_a_result_becomes_json(decode: Decode, result: str, output: object, errors: list[str]) -> None:
    answer = await decode(f"function decodeUplink(input) {{ return {result} }}")

    assert answer.failure is None, answer.reason
    assert answer.output == {"data": output}
    assert [error.partition(" (ligne")[0] for error in answer.errors] == errors
    assert (answer.problem is None) == (not errors)


async def test_what_is_no_number_is_a_warning(decode: Decode) -> None:
    answer = await decode(
        "function decodeUplink() { return {data: {a: {b: NaN}, c: [0, -Infinity]}, warnings: ['pile']} }"
    )

    assert answer.output == {"data": {"a": {}, "c": [0, None]}}
    assert answer.warnings == [
        "pile",
        "a.b : NaN n'est pas une valeur, champ laissé de côté",
        "c.1 : -Infinity n'est pas une valeur, champ laissé de côté",
    ]


async def test_a_uplink_is_given_as_the_field_gives_it(decode: Decode) -> None:
    answer = await decode(
        "function decodeUplink(i) { return {data: {isArray: Array.isArray(i.bytes), bytes: i.bytes, fPort: i.fPort,"
        " isDate: i.recvTime instanceof Date, recvTime: i.recvTime, v: i.variables, e: i.devEui, n: i.deviceName,"
        " t: i.tags}} }",
        b"\x00\xff",
        dev_eui="0011223344556677",
        device_name="Benne 1",
        variables={"a": "1"},
        tags={"rue": "Haute"},
    )

    assert answer.output == {
        "data": {
            "isArray": True, "bytes": [0, 255], "fPort": 1, "isDate": True, "recvTime": "2023-11-14T22:13:20.123Z",
            "v": {"a": "1"}, "e": "0011223344556677", "n": "Benne 1", "t": {"rue": "Haute"},
        }
    }  # fmt: skip


async def test_clock_chance_and_locale_come_from_the_reception(pool: CodecPool) -> None:
    """So that a replay gives the same values, whatever was decoded before and on whichever machine."""
    script = Script(
        "clock/1",
        "const loaded = Date.now(); function decodeUplink() { return {data: {loaded, now: Date.now(), date: new Date(),"
        " text: Date(), called: new Date(5).getTime(), random: [Math.random(), Math.random()], zone: new"
        " Date(0).getTimezoneOffset(), local: new Date().toLocaleString(), same: new Date().constructor === Date,"
        " is: new Date() instanceof Date, type: Object.prototype.toString.call(new Date())}} }",
    )

    first, second = await pool.call([uplink(script), uplink(script)])

    assert first.output is not None
    said = first.output["data"]
    assert second.output == first.output
    random = said.pop("random")
    assert all(0 <= number < 1 for number in random)
    assert random[0] != random[1]
    assert said == {
        "loaded": 0, "now": RECEIVED_US // 1000, "date": "2023-11-14T22:13:20.123Z", "called": 5, "zone": 0,
        "text": "Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)", "same": True, "is": True,
        "local": "11/14/2023, 10:13:20 PM", "type": "[object Date]",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "text"),
    # As a V8 engine with all locales says (Node 20).
    [
        ("(1234567.8915).toLocaleString()", "1,234,567.892"),
        ("(1234567.8915).toLocaleString('fr-FR')", "1\u202f234\u202f567,892"),
        ("(7).toLocaleString('en-US', {minimumIntegerDigits: 2, useGrouping: false})", "07"),
        ("(-1234.5).toLocaleString('de-DE', {minimumFractionDigits: 2})", "-1.234,50"),
        ("(0.5).toLocaleString('fr', {style: 'percent'})", "50\u202f%"),
        ("new Date(1700000000123).toLocaleString('fr-FR', {timeZone: 'Europe/Paris'})", "14/11/2023 23:13:20"),
        ("new Date(1690000000000).toLocaleString('fr-FR', {timeZone: 'Europe/Paris'})", "22/07/2023 06:26:40"),
        ("new Date(1700000000123).toLocaleDateString('en-GB', {timeZone: 'UTC'})", "14/11/2023"),
        ("new Date(1700000000123).toLocaleTimeString('de-DE', {timeZone: 'UTC'})", "22:13:20"),
        ("new Date(0).toLocaleString('en-US', {hour12: false, timeZone: 'UTC'})", "1/1/1970, 24:00:00"),
        ("new Date(NaN).toLocaleString()", "Invalid Date"),
    ],
)
async def test_local_forms_are_those_of_other_engines(decode: Decode, expression: str, text: str) -> None:
    answer = await decode(f"function decodeUplink() {{ return {{data: {expression}}} }}")

    assert answer.output == {"data": text}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("Buffer.from(i.bytes).readUInt16BE(0)", 258),
        ("Buffer.from('0102ff', 'hex').readInt8(2)", -1),
        ("Buffer.alloc(4).fill(1).readUInt32LE(0)", 16843009),
        ("Buffer.concat([Buffer.from([1]), Buffer.from([2])]).toString('hex')", "0102"),
        ("Buffer.from('aGk=', 'base64').toString()", "hi"),
        ("Buffer.from([0x41, 0xb0, 0, 0]).readFloatBE(0)", 22),
        ("require('buffer').Buffer === Buffer", True),
        ("require('node:buffer').Buffer.isBuffer(Buffer.from([]))", True),
        ("typeof Buffer", "function"),
    ],
)
async def test_buffer_is_node_s(decode: Decode, expression: str, value: object) -> None:
    answer = await decode(f"function decodeUplink(i) {{ return {{data: {expression}}} }}")

    assert answer.output == {"data": value}


async def test_a_script_may_bring_its_own_buffer(decode: Decode) -> None:
    answer = await decode(
        "function Buffer() { return {own: 1} } function decodeUplink() { return {data: new Buffer()} }"
    )

    assert answer.output == {"data": {"own": 1}}


async def test_console_is_kept_for_the_lab_and_bounded(decode: Decode) -> None:
    answer = await decode(
        "function decodeUplink() { console.log('a', 1, {b: 2}, [3]); console.error(new TypeError('t').name);"
        " const big = 'x'.repeat(1e5); for (let n = 0; n < 100; n++) console.warn(big); return {data: {}} }"
    )

    assert answer.output == {"data": {}}
    assert answer.console[:2] == ['a 1 {"b":2} [3]', "TypeError"]
    assert sum(map(len, answer.console)) < 17_000
    assert len(answer.console) <= 64


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("function encodeDownlink(i) { return {bytes: [1, i.data.level], fPort: 85} }", {"bytes": [1, 7], "fPort": 85}),
        ("function encodeDownlink(i) { return {bytes: Uint8Array.from([1, 2]), fPort: i.fPort} }", {"bytes": [1, 2], "fPort": 10}),
        ("function encodeDownlink(i) { return {bytes: Buffer.from([1, 2]), fPort: 3.0} }", {"bytes": [1, 2], "fPort": 3}),
        ("function encodeDownlink(i) { return {bytes: Buffer.from([1, 2]).toJSON()} }", {"bytes": [1, 2], "fPort": 10}),
        ("function encodeDownlink(i) { return {bytes: '01fF', fPort: 2} }", {"bytes": [1, 255], "fPort": 2}),
        ("function Encoder(obj, port) { return [obj.level, port, -1] }", {"bytes": [7, 10, 255], "fPort": 10}),
        ("function Encode(fPort, obj, variables) { return [obj.level, fPort] }", {"bytes": [7, 10], "fPort": 10}),
    ],
)  # fmt: skip
async def test_a_command_becomes_octets(pool: CodecPool, source: str, output: object) -> None:
    call = Call(Script(source, source), "encodeDownlink", downlink_input({"level": 7}, RECEIVED_US, f_port=10))

    (answer,) = await pool.call([call])

    assert (answer.problem, answer.output) == (None, output)


@pytest.mark.parametrize(
    "result", ["{bytes: [256]}", "{bytes: [1.5]}", "{bytes: 'zz'}", "{}", "null", "{bytes: ['1']}"]
)
async def test_what_is_no_octets_is_an_error(pool: CodecPool, result: str) -> None:
    source = f"function encodeDownlink(i) {{ return {result} }}"

    (answer,) = await pool.call([Call(Script(source, source), "encodeDownlink", downlink_input({}, RECEIVED_US))])

    assert answer.problem == "le codec n'a pas donné d'octets"


async def test_a_command_is_decoded_back(pool: CodecPool) -> None:
    script = Script("back/1", "function decodeDownlink(i) { return {data: {level: i.bytes[1]}} }")

    (answer,) = await pool.call([uplink(script, b"\x01\x07")._replace(operation="decodeDownlink")])

    assert answer.output == {"data": {"level": 7}}


async def test_many_scripts_in_one_call_answer_in_order() -> None:
    """Over several workers and many batches."""
    pool = CodecPool(2)
    await pool.start()
    try:
        scripts = [
            Script(f"many/{n}", f"function decodeUplink(i) {{ return {{data: i.bytes[0] + {n}}} }}")
            for n in range(20)
        ]
        calls = [uplink(scripts[n % 20], bytes([n % 200])) for n in range(1_000)]

        answers = await pool.call(calls)

        assert [answer.output for answer in answers] == [{"data": n % 200 + n % 20} for n in range(1_000)]
    finally:
        await pool.close()


async def test_what_a_driver_remembers_is_where_it_looks_for_it(pool: CodecPool) -> None:
    """Actility's drivers: in the input, or in a global; the next call has its own."""
    script = Script(
        "context/1",
        "function decodeUplink(input) { const before = context.length; context.push(7);"
        " return {data: {before, same: input.context === context, all: input.context ?? null}} }",
    )
    given = uplink(script)

    first, second = await pool.call([given._replace(input={**given.input, "context": [1]}), given])

    assert first.output == {"data": {"before": 1, "same": True, "all": [1, 7]}}
    assert second.output == {"data": {"before": 0, "same": False, "all": None}}
