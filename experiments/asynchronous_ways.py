"""The ways in which experiments/asynchronous.py keeps the workers of its cluster busy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asynchronous_cluster import Generations, Search, Several, Steady

from lossmith.search import Space
from lossmith.seeds import derive

Start = Callable[[Space, int, int], Search]
"""Makes a search of a space, a number of workers and a seed."""


@dataclass(frozen=True)
class Way:
    """A way of keeping workers busy.

    Args:
        name: In tables.
        start: Makes its search.
        copies: Whether idle workers try again what others are still at.
        ordered: Whether what is asked for follows from the stored fitness alone, so that resume is replay.
        least: The fewest workers that it makes sense for.
    """

    name: str
    start: Start
    copies: bool = False
    ordered: bool = True
    least: int = 1


USUAL = 20
SYNCHRONOUS, LARGE, COPIED = "sync, λ = 20", "sync, λ = W", "sync, λ = W, copies"
QUARTER, HALF, LAGGED, STEADY = "sync, λ = W/4, copies", "lag 2, λ = W/2", "lag 2, λ = W", "steady, λ = W"
WAYS = (
    Way(SYNCHRONOUS, lambda space, _, seed: Generations(space, USUAL, seed)),
    Way("sync, λ = 20, copies", lambda space, _, seed: Generations(space, USUAL, seed), copies=True),
    Way(
        "sync, λ = 20, W/20 seeds, copies",
        lambda space, workers, seed: Generations(space, USUAL, seed, workers // USUAL),
        copies=True,
        least=2 * USUAL,
    ),
    Way("W/20 searches, λ = 20", lambda space, workers, seed: many(space, workers, seed), least=2 * USUAL),
    Way(QUARTER, lambda space, workers, seed: Generations(space, workers // 4, seed), copies=True, least=2 * USUAL),
    Way(LARGE, lambda space, workers, seed: Generations(space, workers, seed)),
    Way(COPIED, lambda space, workers, seed: Generations(space, workers, seed), copies=True),
    Way("sync, λ = 2W", lambda space, workers, seed: Generations(space, 2 * workers, seed)),
    Way(HALF, lambda space, workers, seed: Generations(space, workers // 2, seed, lag=2)),
    Way(HALF + ", copies", lambda space, workers, seed: Generations(space, workers // 2, seed, lag=2), copies=True),
    Way(LAGGED, lambda space, workers, seed: Generations(space, workers, seed, lag=2)),
    Way("steady, λ = 20", lambda space, workers, seed: Steady(space, USUAL, seed, workers), ordered=False),
    Way("steady, λ = W/2", lambda space, workers, seed: Steady(space, workers // 2, seed, workers), ordered=False),
    Way(STEADY, lambda space, workers, seed: Steady(space, workers, seed, workers), ordered=False),
)


def many(space: Space, workers: int, seed: int) -> Several:
    """As many searches of λ = 20 as fill the workers."""
    count = -(-workers // USUAL)
    return Several([Generations(space, USUAL, derive(seed, "search", k), number=k) for k in range(count)])
