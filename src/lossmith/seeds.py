"""Seeds derived from what they are for, so that nothing depends on the order of the work."""

import hashlib

import torch


def derive(*path: int | str) -> int:
    """Seed in ``0 … 2³² − 1`` for one purpose, the same on every machine and in every process.

    Args:
        path: What the seed is for, from the general to the particular: study seed, purpose, generation, member.

    Example:
        >>> derive(0, "weights", 3) == derive(0, "weights", 3)
        True
        >>> derive(0, "weights", 3) == derive(0, "weights", 4)
        False
    """
    text = "/".join(f"{type(step).__name__}:{step}" for step in path)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def generator(*path: int | str) -> torch.Generator:
    """A CPU generator seeded by :func:`derive`; the global generators are left alone."""
    return torch.Generator().manual_seed(derive(*path))
