"""The command line."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper

from lossmith.errors import InputError

__all__ = ["main"]

COMMANDS = {
    "evolve": "search a loss for a network on data, and write the winner to DIR/best.json",
    "compare": "compare losses with every baseline, all of them tuned alike, on test data",
    "explain": "say what the theory knows of any loss: how it starts, where it pulls and pushes",
    "trace": "train with some losses and watch how each sample is pulled towards its label or pushed away",
    "attack": "train with some losses and attack the networks: how many test images survive, and is it real?",
    "corruption": "train with some losses, then add noise to inputs and weights, and silence units",
    "basin": "train with some losses and look at the width of the minima they end in",
    "show": "say where a study stands",
}
LOG = logging.getLogger("lossmith")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end the process with 2 for a bad input, with 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a pipe of another encoding cannot show becomes "?", and is no error.
        if isinstance(stream, TextIOWrapper) and "utf" not in stream.encoding.lower():
            stream.reconfigure(errors="replace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _notes(quiet="--quiet" in given or "--json" in given):
            code = _run(given)
        sys.stdout.flush()
    except InputError as error:
        _fail(str(error))
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"\nlossmith: stopped. {str(interrupt) or 'Nothing stored is lost.'}\n")
        sys.exit(130)
    except BrokenPipeError:
        # What read the output has ended; Python must not try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    else:
        if code:
            sys.exit(code)


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if given else 2
    if given[0] == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"lossmith {version('lossmith')}\n")
    else:
        import_module(f"lossmith.cli.{_known(given[0])}").run(given[1:])
    return 0


def _known(name: str) -> str:
    """A command under today's name."""
    if name in COMMANDS:
        return name
    # What knows older names loads much that the commands of today may not need.
    from lossmith.study import OLD_COMMANDS

    if name not in OLD_COMMANDS:
        commands = ", ".join(COMMANDS)
        raise InputError(f"there is no command {name!r}; the commands are {commands} (see lossmith --help)")
    LOG.warning("%s is called %s now", name, OLD_COMMANDS[name])
    return OLD_COMMANDS[name]


@contextmanager
def _notes(quiet: bool) -> Iterator[None]:
    """What the package logs is told on standard error, unless nothing but errors is wanted there."""
    handler = logging.NullHandler() if quiet else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("lossmith: %(message)s"))
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


def _fail(sentence: str) -> None:
    sys.stderr.write(f"lossmith: {sentence}\n")
    sys.exit(2)


def _overview() -> str:
    lines = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    return f"""lossmith metalearns the loss function of a PyTorch classifier.

usage: lossmith COMMAND [OPTIONS]

{lines}

Try it on handwritten digits with 40 % of the labels replaced at random (about a minute each on two cores):

  lossmith evolve --out study --data digits --train-size 800 --label-noise 0.4 --epochs 30
  lossmith compare study/best.json

Then, in Python:  criterion = lossmith.Criterion(lossmith.load("study/best.json"))

lossmith COMMAND --help lists the options of a command; lossmith --version the version.
"""
