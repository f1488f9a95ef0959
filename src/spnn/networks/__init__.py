"""Surjective networks: orthogonal mixing, the coupling block, networks built from a plan, and the published weights."""

from spnn.networks.coupling import SurjectiveCoupling
from spnn.networks.mixing import MIXINGS
from spnn.networks.network import SPNN

__all__ = ["MIXINGS", "SPNN", "SurjectiveCoupling"]
