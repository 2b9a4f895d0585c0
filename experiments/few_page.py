"""The page of experiments/few.py."""

from collections.abc import Mapping
from typing import Any


def page(documents: Mapping[str, dict[str, Any]]) -> list[str]:
    """The outcome as Markdown."""
    return [f"# What few trainings find: {', '.join(documents)}"]
