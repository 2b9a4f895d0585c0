"""Names of files, folders and arrays, which others chose, as they can be printed."""

from lossmith.errors import printable

LISTED = 8
LONGEST = 60


def is_plain(text: str) -> bool:
    """Whether a text moves no cursor, turns no writing, stays on its line, and can be encoded."""
    return printable(text) == text


def shown(text: object) -> str:
    r"""A text that is plain: what is not is escaped.

    Example:
        >>> shown("cat\x1b[31m")
        'cat\\x1b[31m'
    """
    return printable(str(text))


def listed(names: list[str], most: int = LISTED) -> str:
    """The first of some names, cut short, as they can be printed."""
    return ", ".join(shown(short(name)) for name in names[:most]) + ", …" * (len(names) > most)


def short(text: object, most: int = LONGEST) -> str:
    """The beginning of a text."""
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[:most]}…"
