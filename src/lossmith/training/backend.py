"""How networks are run, as a value: engine, compiled or not, layout of memory."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import torch

from lossmith.errors import InputError
from lossmith.registry import unknown
from lossmith.training.engines import ENGINES, cpp_compiler

POPULATION = "population"
COMPILED, CHANNELS_LAST = "-compiled", "-channels-last"
# Names of version 0.1, which settings, databases and command lines still hold.
OLD_NAMES = {
    "plain": "sequential",
    "plain-channels-last": "sequential-channels-last",
    "plain-compiled": "sequential-compiled",
    "plain-channels-last-compiled": "sequential-channels-last-compiled",
    "population-compiled": "vmap-compiled",
}


@dataclass(frozen=True)
class Backend:
    """How networks are run; results agree to rounding.

    Args:
        engine: A registered one, or ``"population"``: the first registered one that trains the network in one program
            with others.
        compiled: Whether the forward pass is compiled.
        channels_last: Whether images and convolutions lie in memory with their channels last.

    Raises:
        InputError: if there is no such engine, or it cannot do that.

    Example:
        >>> str(Backend.parse("sequential-channels-last"))
        'sequential-channels-last'
    """

    engine: str = "sequential"
    compiled: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        if (self.engine != POPULATION and self.engine not in ENGINES) or str(self) not in names():
            raise InputError(unknown(str(self), "way of training", names()))

    def __str__(self) -> str:
        """Its name, as in settings."""
        return self.engine + CHANNELS_LAST * self.channels_last + COMPILED * self.compiled

    @staticmethod
    def parse(text: str) -> Backend:
        """The backend of a name, of an older one, too.

        Raises:
            InputError: if there is none.
        """
        rest = name = OLD_NAMES.get(text, text)
        rest = (whole := rest).removesuffix(COMPILED)
        engine = rest.removesuffix(CHANNELS_LAST)
        if engine != POPULATION and engine not in ENGINES:
            raise InputError(unknown(name, "way of training", names()))
        return Backend(engine, rest != whole, engine != rest)

    @property
    def population(self) -> bool:
        """Whether it runs all networks in one program."""
        return self.engine == POPULATION or ENGINES[self.engine].population

    @property
    def uncompiled(self) -> Backend:
        """The same without compiling."""
        return Backend(self.engine, channels_last=self.channels_last)

    @property
    def original(self) -> str:
        """What version 0.1 called it, for what is identified by that; it had one name for all in one program."""
        if self.population:
            return POPULATION + COMPILED * self.compiled
        return next((old for old, new in OLD_NAMES.items() if new == str(self)), str(self))


def names() -> list[str]:
    """The names of all backends."""
    found = [POPULATION]
    for name, engine in ENGINES.items():
        layouts = ("", CHANNELS_LAST) if engine.layouts else ("",)
        found += [name + layout + end for layout in layouts for end in ("", COMPILED)[: 1 + engine.compiles]]
    return found


def available(backend: Backend, device: torch.device) -> Backend:
    """The backend itself, or without compiling where this machine has no compiler."""
    return backend if has_compiler(device) else backend.uncompiled


def has_compiler(device: torch.device) -> bool:
    """Whether ``torch.compile`` finds what it needs on this machine."""
    if device.type == "cpu":
        return cpp_compiler() is not None
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None
