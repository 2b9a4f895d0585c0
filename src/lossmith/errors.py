"""The errors that a user can mend."""

import unicodedata

LONGEST_VALUE = 80
# Control and formatting characters (among them those that turn the direction of a line), halves of surrogate pairs,
# and what separates lines.
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one sentence that names the input and the remedy; the command line prints it without a
    traceback and ends with exit code 2.
    """


def printable(text: str, kept: str = "") -> str:
    r"""A text that does to a terminal nothing but show itself: what would do more is written as an escape.

    Args:
        text: What somebody else may have written.
        kept: Characters that stay as they are all the same.

    Example:
        >>> printable("a\x1b[31mb")
        'a\\x1b[31mb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if _is_unprintable(one) and one not in kept else one for one in text
    )


def _is_unprintable(character: str) -> bool:
    return unicodedata.category(character) in UNPRINTABLE


def brief(value: object) -> str:
    """A value in a message, cut where it is long.

    Example:
        >>> len(brief("x" * 5000))
        81
    """
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
