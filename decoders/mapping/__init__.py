"""A profile's mapping: how the free-form answer of a codec becomes readings, and how one is proposed."""

from decoders.mapping.leaves import Leaf, leaves
from decoders.mapping.proposal import propose
from decoders.mapping.rules import InvalidMapping, Mapping, Rule, apply

__all__ = ["InvalidMapping", "Leaf", "Mapping", "Rule", "apply", "leaves", "propose"]
