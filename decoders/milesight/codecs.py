"""Milesight's codecs: a table of what a product sends, and the commands that it obeys."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from decoders.canonical import Decoded
from decoders.codec import Codec, Command, Decode, Proof
from decoders.commands import encoder
from decoders.milesight import commands, controllers, electricity, environment, level, people, rooms
from decoders.milesight.frame import Table, read_frame
from decoders.pulses import add_volumes


class Product(NamedTuple):
    """A product: how people call it, what it sends, and what it obeys beyond what all do."""

    title: str
    table: Table
    commands: tuple[Command, ...] = (commands.REBOOT,)
    version: int = 1
    counts: bool = False  # Its pulses may have a volume: option `litres_per_pulse`.
    proof: Proof | None = None


def _outputs(count: int, question: str) -> Proof:
    """Of products whose output 0 is all of them."""
    return Proof(question, ((0, tuple(str(output) for output in range(1, count + 1))),))


_SENSOR = (*commands.COMMON, commands.COLLECTION_INTERVAL)
_STORING = (*commands.COMMON, *commands.HISTORY)
_ONLY_STORING = (commands.REBOOT, *commands.HISTORY)
_STORING_SENSOR = (*_SENSOR, *commands.HISTORY)

PRODUCTS: dict[str, Product] = {
    "am102": Product("AM102", rooms.AM102, _STORING_SENSOR),
    "am103": Product("AM103", rooms.AM103, _STORING, version=2),
    "am104": Product("AM104", rooms.AM104, commands.COMMON),
    "am107": Product("AM107", rooms.AM107, commands.COMMON, version=2),
    "am307": Product("AM307", rooms.AM307, _STORING),
    "am308": Product("AM308", rooms.AM308, _STORING, version=2),
    "am319": Product("AM319", rooms.AM319_HCHO, _STORING, version=2),
    "ct10x": Product("CT101, CT103, CT105", electricity.CT10X),
    "ct3xx": Product("CT303, CT305, CT310", electricity.CT3XX),
    "em300_di": Product("EM300-DI", environment.EM300_DI, _STORING_SENSOR, counts=True),
    "em300_mcs": Product("EM300-MCS", environment.EM300_MCS, _STORING_SENSOR),
    "em300_sld": Product("EM300-SLD, EM300-ZLD", environment.EM300_SLD, _STORING_SENSOR),
    "em300_th": Product("EM300-TH", environment.EM300_TH, _STORING_SENSOR),
    "em310": Product("EM310-UDL", level.EM310, _SENSOR, version=2),
    "em400": Product("EM400-UDL, EM400-MUD", level.EM400, (*_SENSOR, commands.DISTANCE_ALARM), version=2),
    "em410": Product("EM410-RDL", level.EM410, _ONLY_STORING),
    "em500_co2": Product("EM500-CO2", environment.EM500_CO2, _STORING_SENSOR),
    "em500_lgt": Product("EM500-LGT", environment.EM500_LGT, _STORING_SENSOR),
    "em500_pp": Product("EM500-PP", environment.EM500_PP, _STORING_SENSOR, version=2),
    "em500_pt100": Product("EM500-PT100", environment.EM500_PT100, _STORING_SENSOR),
    "em500_smt": Product("EM500-SMT, EM500-SMTC", environment.EM500_SMT, _STORING_SENSOR),
    "em500_swl": Product("EM500-SWL", level.EM500_SWL, _STORING_SENSOR),
    "em500_udl": Product("EM500-UDL", level.EM500_UDL, _STORING_SENSOR),
    "uc100": Product("UC100", controllers.UC100, commands.COMMON),
    "uc300": Product(
        "UC300", controllers.UC300, (*commands.UC300_OUTPUTS, *commands.COMMON), counts=True, proof=Proof()
    ),
    "uc50x": Product("UC501, UC502", controllers.UC50X, commands.COMMON, counts=True),
    "uc51x": Product("UC511, UC512", controllers.UC51X, (*commands.VALVES, commands.REBOOT), counts=True),
    "uc521": Product("UC521", controllers.UC521, counts=True),
    "vs121": Product("VS121", people.VS121),
    "vs133": Product("VS133", people.VS133),
    "vs321": Product("VS321", people.VS321),
    "vs330": Product("VS330", people.VS330),
    "vs340": Product("VS340, VS341", people.VS340),
    "vs350": Product("VS350", people.VS350, _ONLY_STORING),
    "ws101": Product("WS101", environment.WS101, commands.COMMON),
    "ws201": Product("WS201", level.WS201),
    "ws202": Product("WS202", environment.WS202, commands.COMMON),
    "ws203": Product("WS203", environment.WS203, _ONLY_STORING),
    "ws301": Product("WS301", environment.WS301, commands.COMMON),
    "ws302": Product("WS302", environment.WS302),
    "ws303": Product("WS303", environment.WS303),
    "ws501": Product(
        "WS501", electricity.WS50X, (*commands.wall_switch(1), *commands.COMMON), proof=_outputs(1, "read_state")
    ),
    "ws502": Product(
        "WS502", electricity.WS50X, (*commands.wall_switch(2), *commands.COMMON), proof=_outputs(2, "read_state")
    ),
    "ws503": Product(
        "WS503", electricity.WS50X, (*commands.wall_switch(3), *commands.COMMON), proof=_outputs(3, "read_state")
    ),
    "ws52x": Product(
        "WS523, WS525",
        electricity.WS52X,
        (*commands.SOCKET, *commands.COMMON),
        proof=Proof("read_state", ((1, ("",)),)),
    ),
    "ws558": Product("WS558", electricity.WS558, (*commands.LIGHTS, *commands.COMMON), proof=_outputs(8, "")),
    "wt101": Product(
        "WT101",
        environment.WT101,
        (commands.TARGET_TEMPERATURE, commands.REBOOT, commands.REPORT_INTERVAL_MINUTES),
    ),
}


def _by_table(table: Table) -> Decode:
    def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
        return read_frame(table, f_port, payload, time_us, options)

    return decode


def _counting(table: Table) -> Decode:
    def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
        decoded = read_frame(table, f_port, payload, time_us, options)
        add_volumes(options, decoded)
        return decoded

    return decode


def decode_am319(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode either AM319: option `gas` is `hcho` (the default) or `o3`.

    Their measures differ by channel; only their stored records, alike in size, need the option.
    """
    table = rooms.AM319_O3 if options.get("gas") == "o3" else rooms.AM319_HCHO
    return read_frame(table, f_port, payload, time_us, options)


def _codec(name: str, product: Product) -> Codec:
    if name == "am319":
        decode = decode_am319
    else:
        decode = _counting(product.table) if product.counts else _by_table(product.table)
    encode = encoder(f"Le Milesight {product.title}", product.commands)
    return Codec(f"milesight.{name}", product.version, decode, encode, product.commands, proof=product.proof)


MILESIGHT_CODECS = tuple(_codec(name, product) for name, product in PRODUCTS.items())
