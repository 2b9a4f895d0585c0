"""Networks: built in or the user's own, with the normalisation as the first layer."""

from lossmith.nets.factory import NetworkFactory, check_network, network_factory
from lossmith.nets.normalize import Normalize
from lossmith.nets.own import own_source
from lossmith.nets.parts import Dropout
from lossmith.nets.registry import build, check_name
from lossmith.nets.settings import ModelSettings

__all__ = [
    "Dropout",
    "ModelSettings",
    "NetworkFactory",
    "Normalize",
    "build",
    "check_name",
    "check_network",
    "network_factory",
    "own_source",
]
