"""How networks are run: one by one, or all in one program."""

from lossmith.training.engines.base import ENGINES, Engine, Passes, Run, Stack, advance
from lossmith.training.engines.cnn import CNN
from lossmith.training.engines.compiler import cpp_compiler
from lossmith.training.engines.mlp import MLP
from lossmith.training.engines.sequential import SEQUENTIAL
from lossmith.training.engines.vmap import VMAP

__all__ = ["ENGINES", "Engine", "Passes", "Run", "Stack", "advance", "cpp_compiler"]

# "population" is the first of those for populations that trains a network: the fastest comes first, the widest last.
ENGINES.register("sequential", SEQUENTIAL)
ENGINES.register("mlp", MLP)
ENGINES.register("cnn", CNN)
ENGINES.register("vmap", VMAP)
