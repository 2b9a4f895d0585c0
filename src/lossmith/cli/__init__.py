"""The command line."""

import logging
import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossmith.cli.names import OLD_COMMANDS
from lossmith.cli.spelling import check_flags, check_names
from lossmith.cli.streams import OneLine, standard_streams
from lossmith.errors import InputError, brief, printable
from lossmith.lazy import lazily

if TYPE_CHECKING:
    from lossmith.cli.console import Bar, CompareProgress, SearchProgress

__all__ = ["Bar", "CompareProgress", "SearchProgress", "main"]

# What shows progress loads Rich, which a version number does without.
__getattr__ = lazily(__name__, {"console": ["Bar", "CompareProgress", "SearchProgress"]})

COMMANDS = {
    "evolve": "find a loss for a network on data, and write it to DIR/best.json",
    "compare": "compare losses with known ones on test data, all of them tuned alike",
    "distill": "leave out terms of a loss, and write the smallest one that is not worse",
    "explain": "say what a loss does: how it starts, where it pulls labels up and pushes them down",
    "explore": "write a page with sliders that change a loss, and its curves",
    "export": "print a loss as a PyTorch module that needs PyTorch alone, or for JAX, NumPy or LaTeX",
    "trace": "train with some losses, and watch how each sample is pulled towards its label or pushed away",
    "attack": "train with some losses, and attack the networks: how many test images survive, and is it real?",
    "corruption": "train with some losses, then add noise to inputs and weights, and silence units",
    "basin": "train with some losses, and measure how wide the minima are that they end in",
    "probe": "say how noisy labels are, which known loss is best, and whether a search is worth its cost",
    "suspects": "rank the labels of training data by how probably they are wrong",
    "show": "say where a study stands",
    "report": "write a study to DIR/report.html, a page that opens without a network",
}
LOG = logging.getLogger("lossmith")
BAD_INPUT, INTERRUPTED, BROKEN = 2, 130, 70
LONGEST_ERROR = 200
AGAIN = 0.01  # seconds until a Ctrl-C that was dropped comes again
# No path is longer, and no name; a loss's coefficients may be.
LONGEST_WORD, NUMERIC = 4096, frozenset("0123456789+-.eE_,; []()")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end the process with 2 for a bad input, with 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with standard_streams(), _impatience() as interrupted:
        code = _ended(given, interrupted)
    if code:
        sys.exit(code)


def _ended(given: Sequence[str], interrupted: threading.Event) -> int:
    """The exit code of a command, after it was told how it ended."""
    try:
        with _notes(quiet="--quiet" in given or "--json" in given):
            code = _run(given)
        sys.stdout.flush()
    except InputError as error:
        return _failed(str(error))
    except KeyboardInterrupt as interrupt:
        return _stopped(str(interrupt))
    except BrokenPipeError:
        # What read the output has ended.
        return 1
    except MemoryError:
        return _failed("there is not enough memory; take smaller data, a smaller network, or a smaller --chunk")
    except Exception:
        # An import that is interrupted may end in any exception.
        return _stopped("") if interrupted.is_set() else _broken(given)
    return code


def _stopped(sentence: str) -> int:
    sys.stderr.write(f"\nlossmith: stopped. {printable(sentence) or 'Nothing stored is lost.'}\n")
    return INTERRUPTED


@contextmanager
def _impatience() -> Iterator[threading.Event]:
    """What a first Ctrl-C sets; a second one ends the process at once, which costs nothing that is stored."""
    interrupted = threading.Event()
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield interrupted
        return

    def first(*_: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, second)
        raise KeyboardInterrupt

    def second(*_: Any) -> None:
        # A bar of progress hides the cursor.
        os.write(2, b"\x1b[?25h\n" if os.isatty(2) else b"\n")
        os._exit(INTERRUPTED)

    def lost(unraisable: "sys.UnraisableHookArgs") -> None:
        # Python drops what is raised while an object is destroyed; the same Ctrl-C comes again when that is over.
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.signal(signal.SIGINT, first)
            again.append(threading.Timer(AGAIN, _interrupt))
            again[-1].start()
        else:
            hook(unraisable)

    again = list[threading.Timer]()
    before, hook = signal.signal(signal.SIGINT, first), sys.unraisablehook
    sys.unraisablehook = lost
    try:
        yield interrupted
    finally:
        sys.unraisablehook = hook
        for timer in again:
            timer.cancel()
        # What ends because of the first is not asked again at its very end.
        if not interrupted.is_set():
            signal.signal(signal.SIGINT, before)


def _interrupt() -> None:
    """What Ctrl-C does; where there are signals, it ends what the main thread waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        interrupt_main()


def _broken(given: Sequence[str]) -> int:
    """Say that the program is wrong, not the input, and write down what its makers need to know; the exit code."""
    import tempfile
    import traceback
    from importlib.metadata import version

    error = "".join(traceback.format_exception_only(*sys.exc_info()[:2])).strip().splitlines()[-1]
    try:
        descriptor, path = tempfile.mkstemp(prefix="lossmith-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"lossmith {version('lossmith')}, Python {sys.version}\nlossmith {given}\n\n")
            traceback.print_exc(file=file)
        kept = f"{path} says where: please send it to the makers of lossmith"
    except OSError as problem:
        kept = f"no report could be written ({problem.strerror})"
    sentence = f"this is a fault of lossmith, not of what you gave ({error[:LONGEST_ERROR]}); {kept}"
    sys.stderr.write(f"lossmith: {printable(sentence)}\n")
    return BROKEN


def _run(given: Sequence[str]) -> int:
    for word in given:
        if "\0" in word:
            raise InputError(f"the argument {brief(word)} holds a null byte, which no name of a file has; remove it")
        if len(word) > LONGEST_WORD and not NUMERIC.issuperset(word):
            raise InputError(f"the argument {brief(word)} has {len(word)} characters; give {LONGEST_WORD} at most")
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if given else 2
    if given[0] == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"lossmith {version('lossmith')}\n")
    else:
        name = _known(given[0])
        check_flags(name, given[1:])
        check_names(name, given[1:])
        try:
            command = import_module(f"lossmith.cli.{name}")
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Nothing was begun.") from None
        command.run(given[1:])
    return 0


def _known(name: str) -> str:
    """A command under today's name."""
    if name in COMMANDS:
        return name
    if name not in OLD_COMMANDS:
        commands = ", ".join(COMMANDS)
        raise InputError(f"there is no command {brief(name)}; the commands are {commands} (see lossmith --help)")
    LOG.warning("%s is called %s now", name, OLD_COMMANDS[name])
    return OLD_COMMANDS[name]


@contextmanager
def _notes(quiet: bool) -> Iterator[None]:
    """What the package logs is told on standard error, unless nothing but errors is wanted there."""
    handler = logging.NullHandler() if quiet else logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("lossmith: %(message)s"))
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


def _failed(sentence: str) -> int:
    sys.stderr.write(f"lossmith: {sentence}\n")
    return BAD_INPUT


def _overview() -> str:
    lines = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    return f"""lossmith finds a loss function for a PyTorch classifier, and tests it beside known ones.

usage: lossmith COMMAND [OPTIONS]

{lines}

Try it on handwritten digits with 40 % of the labels wrong (about a minute each on two cores):

  lossmith evolve --out study --data digits --train-size 800 --label-noise 0.4 --epochs 30
  lossmith compare study/best.json

Then, in Python:  criterion = lossmith.Criterion("study/best.json")

lossmith COMMAND --help lists the options that most people use, --help-all all of them; lossmith --version prints the
version.
"""
