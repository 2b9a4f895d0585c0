"""How networks are run: one by one, or all in one program. The first engine for populations that fits is taken."""

from lossmith.training.engines import mlp as _mlp  # noqa: F401 (the fastest population engine comes first)
from lossmith.training.engines import sequential as _sequential  # noqa: F401 (it registers itself)
from lossmith.training.engines import vmap as _vmap  # noqa: F401
from lossmith.training.engines.base import ENGINES, Engine, Passes, Run, Stack

__all__ = ["ENGINES", "Engine", "Passes", "Run", "Stack"]
