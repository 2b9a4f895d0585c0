"""Networks: built in or the user's own, behind the input layer of the data."""

from lossmith.nets import builtin as builtin
from lossmith.nets.factory import NetworkFactory, check_network, network_factory
from lossmith.nets.parts import Dropout
from lossmith.nets.registry import NETWORKS, Blueprint, Network, build, check_name, offered
from lossmith.nets.settings import ModelSettings
from lossmith.nets.size import bytes_of, parameters_of
from lossmith.nets.whole import fed

__all__ = [
    "NETWORKS",
    "Blueprint",
    "Dropout",
    "ModelSettings",
    "Network",
    "NetworkFactory",
    "build",
    "bytes_of",
    "check_name",
    "check_network",
    "fed",
    "network_factory",
    "offered",
    "parameters_of",
]
