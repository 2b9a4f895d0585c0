"""What a command does when its output, its error output, or its patience ends."""

import os
import re
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lossmith.cli import main
from lossmith.cli.console import output
from lossmith.cli.streams import SPELLED, Output, standard_streams
from lossmith.errors import InputError, printable

LOSSMITH = [sys.executable, "-m", "lossmith"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Puts a function in the place of what ``lossmith explain`` does."""
    module = import_module("lossmith.cli.explain")

    def replace(what: Callable[[], None]) -> None:
        monkeypatch.setattr(module, "run", lambda _: what())

    return replace


@pytest.fixture
def terminal() -> Iterator[None]:
    """Ctrl-C as on a terminal: what a script starts in the background ignores it, and so do the tests there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def started(*words: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*LOSSMITH, *words], text=True, check=False, **settings)


def close_output() -> None:
    os.close(1)


def close_errors() -> None:
    os.close(2)


def test_a_closed_output_is_no_error() -> None:
    ended = started("--version", stderr=subprocess.PIPE, preexec_fn=close_output)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_closed_error_output_keeps_the_exit_code() -> None:
    ended = started("nonsense", stdout=subprocess.PIPE, preexec_fn=close_errors)
    assert (ended.returncode, ended.stdout) == (2, "")


@needs_full
def test_a_full_output_is_told() -> None:
    with FULL.open("w") as file:
        ended = started("--version", stdout=file, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert re.fullmatch(r"lossmith: standard output cannot be written \(.*\); make room .*\n", ended.stderr)


@needs_full
def test_a_full_error_output_keeps_the_exit_code() -> None:
    with FULL.open("w") as file:
        ended = started("nonsense", stdout=subprocess.PIPE, stderr=file)
    assert (ended.returncode, ended.stdout) == (2, "")


def test_what_reads_the_output_may_end() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = started("--version", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_a_fault_of_the_program_gets_a_sentence_and_a_report(
    command: Callable[..., None], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail() -> None:
        raise ZeroDivisionError("a \x1b[31m fault")

    command(fail)
    with pytest.raises(SystemExit) as end:
        main(["explain", "mse"])
    assert end.value.code == 70
    out, err = capfd.readouterr()
    assert out == ""
    found = re.fullmatch(
        r"lossmith: this is a fault of lossmith, .*\(ZeroDivisionError: a \\x1b.*\); (.*) says .*\n", err
    )
    assert found is not None
    report = Path(found[1])
    assert report.parent == tmp_path
    assert "Traceback (most recent call last)" in report.read_text()
    assert "['explain', 'mse']" in report.read_text()


def test_no_room_for_a_report(
    command: Callable[..., None], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: str) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    def fail() -> None:
        monkeypatch.setattr("tempfile.mkstemp", full)
        raise KeyError("x")

    command(fail)
    with pytest.raises(SystemExit):
        main(["explain", "mse"])
    monkeypatch.undo()
    assert "no report could be written (No such file or directory)" in capfd.readouterr().err


def test_no_memory(command: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise MemoryError

    command(fail)
    with pytest.raises(SystemExit) as end:
        main(["explain", "mse"])
    assert end.value.code == 2
    assert "there is not enough memory" in capfd.readouterr().err


def test_ctrl_c_while_something_else_catches_it(
    command: Callable[..., None], capfd: pytest.CaptureFixture[str], terminal: None
) -> None:
    def interrupted() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("an extension could not be loaded") from None

    command(interrupted)
    with pytest.raises(SystemExit) as end:
        main(["explain", "mse"])
    assert end.value.code == 130
    assert capfd.readouterr().err == "\nlossmith: stopped. Nothing stored is lost.\n"


def test_ctrl_c_while_an_object_is_destroyed(
    command: Callable[..., None], capfd: pytest.CaptureFixture[str], terminal: None
) -> None:
    """Python drops what a callback of a weak reference raises; the Ctrl-C was lost, with a traceback."""

    class Thing:
        pass

    def interrupted() -> None:
        thing = Thing()
        reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        assert reference() is None
        # Only a signal ends this before its time.
        threading.Event().wait(60)

    command(interrupted)
    with pytest.raises(SystemExit) as end:
        main(["explain", "mse"])
    assert end.value.code == 130
    assert capfd.readouterr().err == "\nlossmith: stopped. Nothing stored is lost.\n"


def test_a_second_ctrl_c_ends_at_once() -> None:
    program = (
        "import signal; from importlib import import_module; from lossmith.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def stubborn(_):\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        print('not at once')\n"
        "import_module('lossmith.cli.explain').run = stubborn\n"
        "main(['explain', 'mse'])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "\n")


def test_threads_beyond_any_machine(capfd: pytest.CaptureFixture[str]) -> None:
    """3,000,000 of them ended the process by a segmentation fault."""
    for number in ("3000000", "9" * 20, "0"):
        with pytest.raises(SystemExit) as end:
            main(["trace", "mse", "--threads", number])
        assert end.value.code == 2
        assert "--threads" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("h² y + h⁻¹ − 2·h⁶", "h^2 y + h^-1 - 2*h^6"),
        ("φ(h, y) = −Σ_k", "phi(h, y) = -sum_k"),
        ("λ₂ ≥ ½", "lambda_2 >= 1/2"),
        ("日", "?"),
    ],
)
def test_meaning_survives_an_encoding_without_signs(text: str, spelled: str) -> None:
    with standard_streams():
        assert text.encode("ascii", SPELLED).decode() == spelled


def test_an_error_of_reading_is_not_spelled() -> None:
    with standard_streams(), pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", SPELLED)


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\u202eb", "\ud800", "\x07", "a\u2028b", "\x9b1m"])
def test_texts_of_others_do_nothing_to_a_terminal(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert printable(text).isprintable()
    with standard_streams():
        output().print(text)
    assert capfd.readouterr().out.rstrip("\n") == printable(text)


def test_texts_that_do_no_harm_stay_as_they_are() -> None:
    for text in ("h² y", "日本", "a b", "ä", ""):
        assert printable(text) == text
    assert printable("a\nb\t", "\n\t") == "a\nb\t"


def test_a_terminal_gets_its_colors(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Output(sys.stdout, lossy=False).write("\x1b[31m")
    assert capfd.readouterr().out == "\x1b[31m"


def test_an_output_that_cannot_be_written_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def isatty(self) -> bool:
            return False

        def fileno(self) -> int:
            raise OSError

        def write(self, _: str) -> int:
            raise OSError(28, "no room")

    broken: Any = Broken()
    with pytest.raises(InputError, match=r"\(no room\)"):
        Output(broken, lossy=False).write("x")
    assert Output(broken, lossy=True).write("x") == 1


def test_a_null_byte_is_in_no_name(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["compare", "mse", "--out", "\0"])
    assert end.value.code == 2
    assert "null byte" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["show", "x" * 5000], ["y" * 5000], ["explain", "mse", "--epsilon", "z" * 5000], ["explain", "--" + "z" * 5000]],
)
def test_an_argument_without_end(capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    said = capfd.readouterr().err
    assert "has 500" in said
    assert "give 4096 at most" in said
    assert len(said) < 300


def test_many_coefficients_are_no_argument_without_end(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explain", ",".join(["0.125"] * 1000)])
    assert "give 4096 at most" not in capfd.readouterr().err
