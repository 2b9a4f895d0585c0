"""Progress in a notebook: one output of a cell that is written anew, where lines would fill the page."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from lossmith.markup import element


class NotebookProgress:
    """A bar, what is done, and the time that is left."""

    def __init__(self) -> None:
        # Whatever runs as a notebook has IPython, which lossmith does not ask for elsewhere.
        self._ipython: Any = import_module("IPython.display")
        self._handle: Any = None
        self._started = time.perf_counter()

    def show(self, text: str, share: float) -> None:
        """Write it anew.

        Args:
            text: What is done.
            share: Share of the whole that is done.
        """
        elapsed = time.perf_counter() - self._started
        left = f", {clock(elapsed * (1 - share) / share)} left" if 0.01 <= share < 1 else ""
        bar = element("progress", value=f"{share:.4f}", max=1, aria_label="progress")
        line = element("div", bar, f" {100 * share:.0f} %, {clock(elapsed)}{left}  {text}")
        made = self._ipython.HTML(str(line))
        if self._handle is None:
            self._handle = self._ipython.display(made, display_id=True)
        else:
            self._handle.update(made)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as the bar of a terminal has them.

    Example:
        >>> clock(75.2)
        '0:01:15'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
