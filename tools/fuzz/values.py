"""Values, words and texts that programs do not expect."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

HUGE = 10**400
NASTY: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 100, 101, 10**9, -(10**9), 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1),
    *(10**30, HUGE, -HUGE, 0.0, -0.0, 0.5, -0.5, 1e-320, 1e-30, 1e30, 1e300, 1e308, 1.7976931348623157e308, -1e308),
    *(float("nan"), float("inf"), float("-inf"), "", "x", "0", "1e9", "nan", "ε", "\x00", "\ud800", "a\nb"),
    *("\x1b[31mred", "\u202ex", "x" * 5000, "../../etc/passwd", "../victim/package", "%s%n", "[bold]x[/bold]", "{0}"),
    *([], [[]], [0], [1, 2, 3], [[0, 1, 1]], [None], ["x"], [True], {}, {"a": 1}, {"format": "lossmith.loss"}),
    *([[[[[[[[1]]]]]]]], [1e308] * 3, list(range(50)), "payload:net"),
]
WORDS = (
    *("", " ", "0", "-1", "1", "2", "1e9", "1e400", "nan", "inf", "-inf", "NaN", "Infinity", "0x10", "1_000", "１２"),
    *("٣", "½", "ε", "−1", "1,2", "1 2", "[1]", "(1)", "None", "null", "true", "True", "''", '""', "\t", "a b", "a\nb"),
    *("\x1b[31m", "--", "-", "-x", "--help=x", "1.5", "-0", "+1", "1.", ".5", "9" * 30, "9" * 5000, "-" + "9" * 30),
    *("1e-400", "x" * 300, "x" * 100_000, "/", ".", "..", "/dev/null", "/dev/full", "/proc/self/mem", "/etc/passwd"),
    *("d.npz", "no/such/file", "~", "~nobody/x", "$HOME", "*", "{}", "[]", "\udc80", "\ud800", "😀", "auto", "cuda"),
    *("cuda:99", "meta", "mps", "cpu:0", "cpu:7", "payload:net", "os:system"),
)
LITERALS = (b"", b" ", b"\n", b"null", b"true", b"0", b'""', b"[]", b"{}", b"NaN", b'"x"', b"\xff", b"\x80abc")
MAGICS = (b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"SQLite format 3\0", b"\x80\x04\x95")
NUMBERS = (b"1e999", b"-1e999", b"NaN", b"Infinity", b"1" * 5000, b"0x1", b"01", b"+1", b"1.", b".1")


def nasty(rng: random.Random) -> Any:
    """A value of JSON, and more than that, that nobody expects."""
    value, chance = rng.choice(NASTY), rng.random()
    if isinstance(value, list | dict):
        value = copied(value)  # what is changed in it later is of this document alone
    if chance < 0.1:
        return [value] * rng.choice([1, 2, 8])
    return {"k": value} if chance < 0.15 else value


def dumped(document: Any) -> bytes:
    """A document as JSON, with what JSON does not have, too."""
    return json.dumps(document).encode("utf-8", "surrogatepass")


def copied(document: Any) -> Any:
    """A copy of a document."""
    return json.loads(json.dumps(document))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every part of a document."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The part of a document at a path."""
    for step in path:
        value = value[step]
    return value


def mutated(rng: random.Random, document: Any) -> Any:
    """A document with one to three parts replaced, removed, nested, or moved."""
    document = copied(document)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice(list(places(document)))
        if not path:
            if rng.random() < 0.3 or not isinstance(document, dict):
                return nasty(rng)
            document[rng.choice(["x", "", "format", "kind", "__class__", "provenance", "name"])] = nasty(rng)
            continue
        _change(rng, document, at(document, path[:-1]), path[-1])
    return document


def _change(rng: random.Random, document: Any, parent: Any, last: Any) -> None:
    how = rng.random()
    if how < 0.6:
        parent[last] = nasty(rng)
    elif how < 0.75:
        del parent[last]
    elif how < 0.85:
        parent[last] = [parent[last]]
    elif how < 0.92 and isinstance(parent, list):
        parent.insert(last, nasty(rng))
    else:
        parent[last] = copied(at(document, rng.choice(list(places(document)))))


def duplicated(rng: random.Random, document: dict[str, Any]) -> bytes:
    """A document as JSON that has one key twice."""
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items()]
    twice = f"{json.dumps(rng.choice(list(document)))}: {json.dumps(nasty(rng))}"
    parts.insert(rng.randrange(len(parts) + 1), twice)
    return ("{" + ", ".join(parts) + "}").encode("utf-8", "surrogatepass")


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A text file that was cut, flipped, written in another encoding, nested without end, or is something else."""
    middle = rng.randrange(len(content) + 1)
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    depth = rng.choice([100, 900, 5000, 50_000])
    ways = [
        lambda: content[:middle],
        lambda: flipped(rng, content),
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-7"])),
        lambda: content[:middle] + b"\0" * rng.choice([1, 3, 1000]) + content[middle:],
        lambda: content * 2,
        lambda: content.replace(b"1", rng.choice(NUMBERS), rng.choice([1, -1])),
        lambda: content.replace(b":", b"=", 1),
        lambda: content + rng.choice([b"x", b",", b"\0", b"}", b"\xff\xfe", b"// comment", b"\x1a"]),
        lambda: b"[" * depth + rng.choice([b"", b"]" * depth]),
        lambda: content.replace(b"[", b"[" * depth, 1),
        lambda: rng.choice([*LITERALS, *MAGICS]),
        lambda: content[:first] + content[last:],
        lambda: content[:last] + content[first:],
        lambda: rng.randbytes(rng.choice([1, 10, 1000])),
        lambda: content.replace(b'"', rng.choice([b"'", b"", b'\\"', "“".encode()]), rng.choice([1, 2, -1])),
    ]
    return rng.choice(ways)()


def flipped(rng: random.Random, content: bytes, times: tuple[int, ...] = (1, 1, 2, 8)) -> bytes:
    """A file with some bytes replaced."""
    changed = bytearray(content)
    for _ in range(rng.choice(times) if content else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)
