"""Formulas as text: ``log(h) - y/h``. The grammar is our own; nothing of a text is ever run.

sum    = product { ("+" | "-") product }
product = signed { ("*" | "/") signed }
signed = "-" signed | power
power  = atom [ "^" number ]              the number 0.5, or a whole one from 1 to 8
atom   = number | "h" | "y" | function "(" sum ")" | "(" sum ")"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from lossmith.errors import InputError, brief
from lossmith.losses.expressions.operators import OPERATORS
from lossmith.losses.expressions.trees import LARGEST_NUMBER, LEAVES, MOST_DEPTH, MOST_NODES, Tree, tree_of

LONGEST, HIGHEST_POWER = 4000, 8
TOKEN = re.compile(r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<sign>[-+*/^()]))")
# Signs that people type or copy, each one character, so that positions stay.
SIGNS = str.maketrans({"−": "-", "·": "*", "×": "*", "÷": "/"})
ADDED, MULTIPLIED, SIGNED, RAISED, ATOM = 1, 2, 3, 4, 5
INFIX = {"+": ADDED, "-": ADDED, "*": MULTIPLIED, "/": MULTIPLIED}


def parse(text: str) -> Tree:
    """The tree of a text.

    Raises:
        InputError: saying what is wrong at which character, counted from 1; or if the tree is too large or holds no h.

    Example:
        >>> parse("log(h) - y/h")
        ('-', ('log', 'h'), ('/', 'y', 'h'))
    """
    if len(text) > LONGEST:
        raise InputError(f"the expression has {len(text)} characters; give at most {LONGEST}")
    return _Parser(text).tree()


def text_of(tree: Tree, number: Callable[[float], str] | None = None) -> str:
    """A tree as a text, of which :func:`parse` makes the same tree.

    Args:
        tree: The tree.
        number: How numbers are written; with every digit without it.

    Example:
        >>> text_of(("*", -0.5, ("square", ("-", 1.0, "h"))))
        '-0.5*(1 - h)^2'
    """
    return _written(tree, number or _exact)[0]


def _exact(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)


def _written(tree: Tree, number: Callable[[float], str]) -> tuple[str, int]:
    """The text of a tree, and how tightly it holds together."""
    if isinstance(tree, str):
        return tree, ATOM
    if not isinstance(tree, tuple):
        return number(tree), SIGNED if tree < 0 else ATOM
    name, *operands = tree

    def inner(operand: Tree, least: int) -> str:
        written, tight = _written(operand, number)
        return written if tight >= least else f"({written})"

    if name in INFIX:
        tight = INFIX[name]
        space = " " if tight == ADDED else ""
        # What stands on the right binds tighter, so that the text says in which order it is computed.
        left, right = inner(operands[0], tight), inner(operands[1], _beyond(operands[1], tight))
        return f"{left}{space}{name}{space}{right}", tight
    if name == "neg":
        plain = isinstance(operands[0], float)
        return f"-({number(operands[0])})" if plain else f"-{inner(operands[0], SIGNED)}", SIGNED
    if name == "square":
        return f"{inner(operands[0], ATOM)}^2", RAISED
    return f"{name}({_written(operands[0], number)[0]})", ATOM


def _beyond(operand: Tree, tight: int) -> int:
    """How tightly the right operand must hold together: a sign after a sign is put into parentheses."""
    signed = (isinstance(operand, float) and operand < 0) or (isinstance(operand, tuple) and operand[0] == "neg")
    return ATOM if signed else tight + 1


class _Parser:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens = text, list[tuple[str, str, int]]()
        plain, at = text.translate(SIGNS), 0
        while plain[at:].strip():
            found = TOKEN.match(plain, at)
            if found is None:
                at += len(plain[at:]) - len(plain[at:].lstrip())
                self.wrong(f"{brief(text[at])} has no place in a formula", at)
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind], found.start(kind)))
            at = found.end()
        self.place, self.deep, self.count = 0, 0, 0

    def tree(self) -> Tree:
        """The tree of the whole text."""
        if not self.tokens:
            raise InputError("the expression is empty; give a formula of h and y, such as y*log(h)")
        found = self.sum()
        if self.place < len(self.tokens):
            _, sign, at = self.next
            many = f"{brief(sign)} is one too many"
            self.wrong(many if sign == ")" else f"an operator is missing before {brief(sign)}", at)
        try:
            return tree_of(found)
        except InputError as error:
            raise InputError(f"the expression {brief(self.text)}: {error}") from None

    @property
    def next(self) -> tuple[str, str, int]:
        """The next token: its kind, its text, and where it stands."""
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "", len(self.text))

    def wrong(self, what: str, at: int) -> NoReturn:
        """Say what is wrong where."""
        where = f"at character {at + 1}" if at < len(self.text) else "at its end"
        raise InputError(f"the expression {brief(self.text)} cannot be read {where}: {what}")

    def taken(self, *signs: str) -> str | None:
        """The next token, if it is one of some signs; it is taken then."""
        kind, sign, _ = self.next
        if kind != "sign" or sign not in signs:
            return None
        self.place += 1
        return sign

    def node(self, *parts: Tree) -> Tree:
        """An operator with its operands."""
        self.count += 1
        if self.count > MOST_NODES:
            self.wrong(f"it has more than {MOST_NODES} operators; give a smaller one", self.next[2])
        return tuple(parts)

    def sum(self) -> Tree:
        """Products, added or subtracted."""
        self.deep += 1
        if self.deep > MOST_DEPTH:
            self.wrong(f"it is more than {MOST_DEPTH} deep; give a smaller one", self.next[2])
        found = self.product()
        while (sign := self.taken("+", "-")) is not None:
            found = self.node(sign, found, self.product())
        self.deep -= 1
        return found

    def product(self) -> Tree:
        """Powers, multiplied or divided."""
        found = self.signed()
        while (sign := self.taken("*", "/")) is not None:
            found = self.node(sign, found, self.signed())
        return found

    def signed(self) -> Tree:
        """A power, or the opposite of one; a sign before a number alone is a part of the number."""
        signs = 0
        while self.taken("-"):
            signs += 1
        number = self.next[0] == "number"
        found, before = self.power(), self.place
        if signs and number and isinstance(found, float) and self.tokens[before - 1][0] == "number":
            signs, found = signs - 1, -found
        for _ in range(signs):
            found = self.node("neg", found)
        return found

    def power(self) -> Tree:
        """An atom, or a power of it."""
        base = self.atom()
        if self.taken("^") is None:
            return base
        kind, text, at = self.next
        exponent = float(text) if kind == "number" else 0.0
        self.place += 1
        if exponent == 0.5:
            return self.node("sqrt", base)
        if not exponent.is_integer() or not 1 <= exponent <= HIGHEST_POWER:
            self.wrong(f"after ^ comes 0.5 or a whole number from 1 to {HIGHEST_POWER}, not {brief(text)}", at)
        return self.whole(base, int(exponent))

    def whole(self, base: Tree, exponent: int) -> Tree:
        """A whole power, by squares."""
        if exponent == 1:
            return base
        half = self.node("square", self.whole(base, exponent // 2))
        return self.node("*", base, half) if exponent % 2 else half

    def atom(self) -> Tree:
        """A number, h, y, a function of something, or something in parentheses."""
        kind, text, at = self.next
        if kind == "number":
            self.place += 1
            if float(text) > LARGEST_NUMBER:
                self.wrong(f"the number {brief(text)} is above {LARGEST_NUMBER:g}", at)
            return float(text)
        if kind == "name":
            self.place += 1
            return text if text in LEAVES else self.function(text, at)
        if self.taken("(") is None:
            what = "something is missing" if kind == "end" else f"a number, h, y or ( is missing before {brief(text)}"
            self.wrong(what, at)
        return self.closed(at)

    def function(self, name: str, at: int) -> Tree:
        """A function of something in parentheses."""
        functions = [one for one, operator in OPERATORS.items() if operator.operands == 1 and one != "neg"]
        if name not in functions:
            self.wrong(f"{brief(name)} is unknown; there are h, y, and the functions {', '.join(functions)}", at)
        opened = self.next[2]
        if self.taken("(") is None:
            self.wrong(f"a ( is missing after {name}", opened)
        return self.node(name, self.closed(opened))

    def closed(self, at: int) -> Tree:
        """What stands up to the closing parenthesis."""
        found = self.sum()
        if self.taken(")") is None:
            what = f"a ) is missing for the ( that is opened at character {at + 1}"
            self.wrong(what if self.next[0] == "end" else f"{brief(self.next[1])} has no place here", self.next[2])
        return found
