"""Names of files, folders and arrays, which others chose, as they can be printed."""

import unicodedata

# What turns the direction of writing, so that a name reads as another one.
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
CONTROLS = ("Cc", "Cs", "Zl", "Zp")
LISTED = 8
LONGEST = 60


def is_plain(text: str) -> bool:
    """Whether a text moves no cursor, turns no writing, stays on its line, and can be encoded."""
    return all(_plain(letter) for letter in text)


def shown(text: object) -> str:
    r"""A text that is plain: what is not is escaped.

    Example:
        >>> shown("cat\x1b[31m")
        'cat\\x1b[31m'
    """
    return "".join(letter if _plain(letter) else ascii(letter)[1:-1] for letter in str(text))


def listed(names: list[str], most: int = LISTED) -> str:
    """The first of some names, cut short, as they can be printed."""
    return ", ".join(shown(short(name)) for name in names[:most]) + ", …" * (len(names) > most)


def short(text: object, most: int = LONGEST) -> str:
    """The beginning of a text."""
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[:most]}…"


def _plain(letter: str) -> bool:
    return letter not in TURNING and unicodedata.category(letter) not in CONTROLS
