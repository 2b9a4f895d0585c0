"""The errors that a user can mend, and text that is safe to show."""

import unicodedata

# Lines and paragraphs, halves of a character, and what moves a cursor or turns the direction of writing.
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Joiners and the soft hyphen belong to words and emoji.
HARMLESS = "\u00ad\u200c\u200d"


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one sentence that names the input and the remedy; the command line prints it without a
    traceback and ends with exit code 2. What it quotes of a file is shown as :func:`printable` does.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    r"""A text on one line whose control characters, overrides of direction and surrogates stand as their escapes.

    Example:
        >>> printable("red\x1b[31m \u202eetc\n")
        'red\\x1b[31m \\u202eetc\\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if one not in HARMLESS and unicodedata.category(one) in HIDDEN else one
        for one in text
    )
