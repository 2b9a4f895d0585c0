"""The page of experiments/glo.py."""

from typing import Any


def page(document: dict[str, Any]) -> list[str]:
    """The outcome as Markdown."""
    return [f"{document['command']}"]
