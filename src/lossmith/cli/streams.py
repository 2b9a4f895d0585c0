"""Standard output and error: whatever they are, a command ends in order."""

from __future__ import annotations

import codecs
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import IO, Any

from lossmith.errors import InputError, printable

SPELLED = "lossmith.spelled"
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀ", "0123456789-+T", strict=True))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉ᵢ", "0123456789i", strict=True))
# What a formula or a table says must survive on a terminal that knows ASCII only.
WORDS = {
    **{"−": "-", "–": "-", "—": "-", "…": "...", "×": "x", "·": "*", "→": "->", "←": "<-", "↦": "->", "±": "+-"},
    **{"≥": ">=", "≤": "<=", "≠": "!=", "∞": "inf", "‖": "||", "½": "1/2", "√": "sqrt ", "∈": " in ", "¬": "not "},
    **{"ε": "epsilon", "φ": "phi", "γ": "gamma", "λ": "lambda", "Σ": "sum", "∂": "d", "α": "alpha", "τ": "tau"},
    **{"β": "beta", "Δ": "Delta", "σ": "sigma", "δ": "delta", "μ": "mu", "η": "eta", "θ": "theta", "∘": " o "},
    **{"“": '"', "”": '"', "’": "'", "•": "*", "█": "#", "━": "-", "╸": "-", "╺": "-"},
}


def spelled(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: powers as ``h^2``, Greek letters by name, others as ``?``.

    Raises:
        UnicodeError: as it came, if it is none of encoding.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, signs = "", {**dict.fromkeys(RAISED, "^"), **dict.fromkeys(LOWERED, "_")}
    before = error.object[error.start - 1 : error.start]
    for one in error.object[error.start : error.end]:
        # One sign before each run of small digits.
        sign = signs.get(one, "")
        text += sign if signs.get(before, "") != sign else ""
        text += RAISED.get(one) or LOWERED.get(one) or WORDS.get(one, "?")
        before = one
    return text, error.end


class OneLine(logging.Formatter):
    """What the package logs, as one line that neither controls a terminal nor forges another line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return printable(super().formatMessage(record))


class Output:
    """A standard stream that takes everything: what it cannot write is told, or lost, but never raises at exit.

    Args:
        stream: What it writes to.
        lossy: Whether what cannot be written is lost without a word, as for standard error, where else?
    """

    def __init__(self, stream: IO[str], lossy: bool) -> None:
        self._stream, self._lossy = stream, lossy
        # A terminal is controlled by such characters, and a pipe of colors is wanted by name.
        self._raw = stream.isatty() or bool(os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE"))

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; a text of other people cannot control what reads it."""
        self._try("write", text if self._raw else printable(text, "\n\t"))
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        self._try("flush")

    def _try(self, name: str, *arguments: str) -> None:
        try:
            getattr(self._stream, name)(*arguments)
        except BrokenPipeError:
            self._let_go()
            if not self._lossy:
                raise
        except OSError as error:
            self._let_go()
            if not self._lossy:
                raise InputError(
                    f"standard output cannot be written ({error.strerror}); make room or send it elsewhere, nothing "
                    "stored is lost"
                ) from None

    def _let_go(self) -> None:
        """Send the rest to nowhere, so that Python does not try again when it ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Standard output and error as commands write them; a closed one is the null device."""
    codecs.register_error(SPELLED, spelled)
    before = sys.stdout, sys.stderr
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            # Python has no stream where the descriptor is closed; a file that is opened later must not become it.
            stream = _nowhere(descriptor)
        elif isinstance(stream, TextIOWrapper) and "utf" not in stream.encoding.lower():
            stream.reconfigure(errors=SPELLED)
        setattr(sys, name, Output(stream, lossy=descriptor == 2))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _nowhere(descriptor: int) -> IO[str]:
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    return open(descriptor, "w", encoding="utf-8", closefd=False)
