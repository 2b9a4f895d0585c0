"""Metalearn the loss function of a PyTorch classifier, compare it fairly, and use it in one line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossmith.errors import InputError
from lossmith.lazy import lazily

if TYPE_CHECKING:
    from lossmith import losses as losses
    from lossmith import nets as nets
    from lossmith.api import Result, evolve, explore, probe, suspects
    from lossmith.losses import (
        Criterion,
        Loss,
        PowerLoss,
        baikal,
        cross_entropy,
        expression,
        find,
        focal,
        gce,
        load,
        mae,
        mse,
        noise_robust,
        poly,
        save,
        schedule,
        taylor,
    )
    from lossmith.study import Study

    __version__: str

__all__ = [
    "Criterion",
    "InputError",
    "Loss",
    "PowerLoss",
    "Result",
    "Study",
    "baikal",
    "cross_entropy",
    "evolve",
    "explore",
    "expression",
    "find",
    "focal",
    "gce",
    "load",
    "mae",
    "mse",
    "noise_robust",
    "poly",
    "probe",
    "save",
    "schedule",
    "suspects",
    "taylor",
]
_loaded = lazily(
    "lossmith",
    {
        "study": ["Study"],
        "api": ["Result", "evolve", "explore", "probe", "suspects"],
        "losses": [
            name
            for name in __all__
            if name not in ("InputError", "Study", "Result", "evolve", "explore", "probe", "suspects")
        ],
    },
)


def __getattr__(name: str) -> Any:
    """Load each name on first use: the command line says its version, and takes Ctrl-C, before torch is imported.

    The version is that of the installed package, which pyproject.toml says.
    """
    if name == "__version__":
        from importlib.metadata import version

        return version("lossmith")
    return import_module(f"lossmith.{name}") if name in ("losses", "nets") else _loaded(name)


def __dir__() -> list[str]:
    """All names, loaded or not."""
    return sorted({*globals(), *__all__, "__version__", "losses", "nets"})
