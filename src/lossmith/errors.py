"""The errors that a user can mend, and text that is safe to show."""

import re
import unicodedata

LONGEST_VALUE = 80
LONG_WORD = re.compile(r"(\S{500})\S+")
# Lines and paragraphs, halves of a character, and what moves a cursor or turns the direction of writing.
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Joiners and the soft hyphen belong to words and emoji.
HARMLESS = "\u00ad\u200c\u200d"


# What is no classification by a softmax over classes, with what would fit.
BINARY = (
    "one logit for each sample is a binary classifier's without a softmax (not supported): end the network in 2 logits "
    "with class indices 0 and 1, or train with torch.nn.BCEWithLogitsLoss"
)
MEASURED = "measured values (regression) are not supported: train with torch.nn.MSELoss, or cut them into classes"
SEVERAL = "several classes of a sample (multi-label) are not supported: train with torch.nn.BCEWithLogitsLoss"


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one sentence that names the input and the remedy; the command line prints it without a
    traceback and ends with exit code 2. What it quotes of a file is shown as :func:`printable` does, and a word that no
    path is as long as is cut.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(LONG_WORD.sub(r"\1…", printable(message)))


def printable(text: str, kept: str = "") -> str:
    r"""A text whose control characters, overrides of direction and surrogates stand as their escapes.

    Args:
        text: What somebody else may have written.
        kept: Characters that stay as they are all the same.

    Example:
        >>> printable("red\x1b[31m \u202eetc\n")
        'red\\x1b[31m \\u202eetc\\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if _is_hidden(one) and one not in kept else one for one in text
    )


def _is_hidden(character: str) -> bool:
    return character not in HARMLESS and unicodedata.category(character) in HIDDEN


def brief(value: object) -> str:
    """A value in a message, cut where it is long.

    Example:
        >>> len(brief("x" * 5000))
        81
    """
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def missing_study(directory: object) -> InputError:
    """What is said of a directory without a study."""
    return InputError(f"{directory} holds no study: there is no study.db in it; make one with lossmith evolve")


def installing(extra: str) -> str:
    """How an extra is installed, for messages: the name lossmith alone is no package of an index.

    Args:
        extra: Its name in pyproject.toml.
    """
    return f"pip install '.[{extra}]' in the source of lossmith, or 'lossmith-….whl[{extra}]' with its wheel"
