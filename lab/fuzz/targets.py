"""The kinds of input, by name."""

from collections.abc import Mapping

from lab.fuzz.decoding import DECODERS, TABLES
from lab.fuzz.files import IMPORTS
from lab.fuzz.gateways import LNS, STATION, UDP
from lab.fuzz.radio import PHY
from lab.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target for target in (UDP, STATION, LNS, PHY, DECODERS, TABLES, IMPORTS)
}
