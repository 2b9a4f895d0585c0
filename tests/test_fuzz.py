"""A few hundred bad inputs in every run, and some signals: `make fuzz` tries thousands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SEED = "make test"


def program(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}"}
    # What hangs must fail, and not wait for whoever runs the tests.
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, env=environment, check=False, timeout=1500
    )


# Two parts, so that two processes share them.
@pytest.mark.parametrize("first", [0, 150])
def test_bad_inputs_get_a_sentence(first: int, tmp_path: Path) -> None:
    ended = program(
        "fuzz", "--count", "150", "--first", str(first), "--seed", SEED, "--jobs", "1", "--out", f"{tmp_path}"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "150 inputs of the seed 'make test'" in ended.stdout or "cannot be made here" in ended.stdout
    assert "0 tracebacks, 0 wrong exit codes, 0 hangs, 0 left files; others: {}" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_whatever_is_killed_ends_equal() -> None:
    ended = program("fuzz.signals", "--kills", "5", "--seed", SEED)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all ends are equal" in ended.stdout


def test_a_fault_would_be_found(tmp_path: Path) -> None:
    """The tool itself: a command that prints a traceback, leaves a file, and ends with a wrong code."""
    check = (
        "from fuzz.cases import Case, faults; from fuzz.harness import Ended\n"
        "bad = Ended(1, '', 'Traceback (most recent call last)', 0.1, 10, False, {})\n"
        "assert faults(Case('x', []), bad) == ['traceback', 'code']\n"
        "left = Ended(2, '', 'lossmith: no', 0.1, 10, False, {'s': 'directory'})\n"
        "assert faults(Case('x', []), left) == ['left']\n"
        "assert faults(Case('x', []), Ended(2, '', 'lossmith: a\\x1b', 0.1, 10, False, {})) == ['control']\n"
        "assert faults(Case('x', []), Ended(-9, '', '', 0.1, 10, True, {})) == ['hang']\n"
        "assert faults(Case('x', [], bad=True), Ended(0, '', '', 0.1, 10, False, {})) == ['code']\n"
        "assert faults(Case('x', []), Ended(0, '', '', 0.1, 9000, False, {})) == ['memory']\n"
        "assert faults(Case('x', []), Ended(2, '', 'lossmith: no', 0.1, 10, False, {})) == []\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}"}
    subprocess.run([sys.executable, "-c", check], check=True, env=environment, cwd=tmp_path)
