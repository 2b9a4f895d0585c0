"""A run that is killed, refused or out of room at any moment, and goes on as if nothing had been."""

import contextlib
import json
import os
import random
import selectors
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lossmith
from lossmith.study.store import Store

SEARCH = ("--population", "6", "--generations", "7", "--chunk", "2")
JOB = (
    "--data", "digits", "--train-size", "200", "--validation-size", "200", "--model", "mlp", "--hidden", "16",
    "--epochs", "10", "--lr", "0.1", "--training", "population", "--space", "taylor", "--seed", "2", *SEARCH,
    "--finalists", "2", "--finalist-seeds", "3", "--no-tune", "--threads", "1", "--quiet",
)  # fmt: skip
TINY = (*JOB, "--epochs", "1")

# It runs commands in forks of itself.
SERVER = Path(__file__).with_name("forks.py")


class Ended(NamedTuple):
    """How a process ended: its exit code (less than 0: the signal that killed it) and what it printed."""

    code: int
    text: str


class Server:
    """Runs one command at a time, each in a fork of a process that has imported everything."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            # What a shell starts in the background ignores interrupts, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.stdout, selectors.EVENT_READ)
        assert self._read() == "ready"

    def start(self, *arguments: str, limit: int | None = None) -> int:
        """Start a command, with a limit on the size of the files that it writes; its process."""
        self.stdin.write((json.dumps([arguments, limit]) + "\n").encode())
        process: int = self._read()
        return process

    def end(self) -> Ended:
        """Wait for the end of the command."""
        return Ended(*self._read())

    def run(self, *arguments: str, limit: int | None = None) -> Ended:
        """Run a command."""
        self.start(*arguments, limit=limit)
        return self.end()

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end of the command, but not for ever."""
        return bool(self.selector.select(seconds))

    def close(self) -> None:
        """End the server."""
        self.selector.close()
        self.stdin.close()
        self.stdout.close()
        assert self.process.wait() == 0

    def _read(self) -> Any:
        return json.loads(self.stdout.readline())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job, done without an interruption."""
    directory = tmp_path_factory.mktemp("whole") / "study"
    assert server.run("evolve", "--out", str(directory), *JOB) == (0, "")
    return directory


@pytest.fixture(scope="module")
def tiny(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short job, done without an interruption."""
    directory = tmp_path_factory.mktemp("tiny") / "study"
    assert server.run("evolve", "--out", str(directory), *TINY) == (0, "")
    return directory


def database(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{(directory / 'study.db').as_uri()}?mode=ro", uri=True)


def tables(directory: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that the database holds, less the seconds."""
    with contextlib.closing(database(directory)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {}
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})") if row[1] != "seconds"]
            query = f"SELECT {', '.join(columns)} FROM {name} ORDER BY 1, 2"  # noqa: S608
            found[name] = connection.execute(query).fetchall()
    return found


def stored(directory: Path) -> set[tuple[Any, ...]]:
    """The places of all stored candidates and finalists."""
    try:
        with contextlib.closing(database(directory)) as connection:
            candidates = connection.execute("SELECT 'search', generation, member FROM candidate").fetchall()
            return {*candidates, *connection.execute("SELECT stage, 0, rank FROM finalist").fetchall()}
    except sqlite3.OperationalError:  # not yet made
        return set()


def log_of(directory: Path) -> list[dict[str, Any]]:
    path = directory / "training.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def places(line: dict[str, Any]) -> set[tuple[Any, ...]]:
    """The candidates or finalists of a line of the log."""
    if line["stage"] == "search":
        return {("search", line["generation"], member) for member in line["members"]}
    return {(line["stage"], 0, rank) for rank in line["ranks"]}


def assert_alike(directory: Path, expected: Path) -> None:
    assert set(tables(expected)) == {"candidate", "finalist", "run", "setting"}
    assert tables(directory) == tables(expected)
    for name in ("best.json", "study.toml"):
        assert (directory / name).read_bytes() == (expected / name).read_bytes()
    assert {path.name for path in (directory / "figures").iterdir()} == {"history.png", "loss.png"}
    begun: list[str] = []
    done: set[str] = set()
    for line in log_of(directory):
        label = json.dumps({key: value for key, value in line.items() if key not in ("time", "event")})
        assert label not in done
        if line["event"] == "begun":
            begun.append(label)
        else:
            assert label == begun[-1]
            done.add(label)
    expected_labels = {json.dumps(sorted(places(line))) for line in log_of(expected)}
    assert {json.dumps(sorted(places(line))) for line in log_of(directory)} == expected_labels


class Moment(NamedTuple):
    """When a process is killed: after so many more stored places or log lines, the last of this kind, and later."""

    what: str
    more: int
    later: float = 0.0


def reached(directory: Path, moment: Moment) -> Callable[[], bool]:
    """Whether a moment has come, counted from what is there now."""
    lines, kept = len(log_of(directory)), len(stored(directory))

    def by_database() -> bool:
        return len(stored(directory)) >= kept + moment.more

    def by_log() -> bool:
        path = directory / "training.log"
        text = path.read_text().splitlines() if path.exists() else []
        return len(text) >= lines + moment.more and f'"{moment.what}"' in text[-1]

    def by_files() -> bool:
        return (directory / "study.db").exists()

    return {"database": by_database, "files": by_files}.get(moment.what, by_log)


def moments() -> list[Moment]:
    """Sixteen moments, most of them inside a training."""
    seeded = random.Random(7)
    found = [Moment("files", 0), Moment("files", 0, 0.01)]
    for number in range(14):
        what = "database" if number % 3 == 1 else "stored" if number % 7 == 3 else "begun"
        found.append(Moment(what, seeded.randint(1, 4), seeded.choice((0.0, 0.002, 0.01, 0.02))))
    return found


def killed(server: Server, directory: Path, come: Callable[[], bool], later: float = 0.0) -> bool:
    """Start the job and kill it when the moment has come; False if it ended before."""
    process = server.start("evolve", "--out", str(directory), *JOB)
    while not come():
        if server.ends_within(0.001):
            assert server.end() == (0, "")
            return False
    if not server.ends_within(later):
        os.kill(process, signal.SIGKILL)
    return server.end().code == -signal.SIGKILL


class TestKilled:
    def test_at_many_moments(self, server: Server, whole: Path, tmp_path: Path) -> None:
        directory = tmp_path / "study"
        kills = inside = 0
        before: set[tuple[Any, ...]] = set()
        for moment in moments():
            come, earlier = reached(directory, moment), len(log_of(directory))
            if not killed(server, directory, come, moment.later):
                break
            kills += 1
            after, lines = stored(directory), log_of(directory)
            assert before <= after
            for line in lines[earlier:]:
                assert line["event"] == "stored" or not places(line) & before, "trained twice"
            if lines and lines[-1]["event"] == "begun":
                inside += not places(lines[-1]) & after
            tables(directory)
            before = after
        assert kills >= 10
        assert inside >= 5
        assert server.run("evolve", "--out", str(directory), *JOB) == (0, "")
        assert_alike(directory, whole)

    def test_in_the_finals(self, server: Server, whole: Path, tmp_path: Path) -> None:
        directory = tmp_path / "study"
        kills = 0
        for stage in ("smoothing", "smoothing", "final"):
            earlier = len(log_of(directory))

            def come(stage: str = stage, earlier: int = earlier) -> bool:
                return any(line["stage"] == stage for line in whole_lines(directory)[earlier:])

            kills += killed(server, directory, come, 0.01)
        assert kills >= 2
        assert server.run("evolve", "--out", str(directory), *JOB) == (0, "")
        assert_alike(directory, whole)

    def test_the_command_line_itself(self, server: Server, whole: Path, tmp_path: Path) -> None:
        directory = tmp_path / "study"
        command = [sys.executable, "-c", "from lossmith.cli import main; main()", "evolve", "--out", str(directory)]
        with subprocess.Popen([*command, *JOB]) as process:
            while len(stored(directory)) < 10:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
                assert process.returncode is None
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert len(stored(directory)) < len(stored(whole))
        assert server.run("evolve", "--out", str(directory), *JOB) == (0, "")
        assert_alike(directory, whole)

    def test_with_the_settings_of_the_study_file(self, server: Server, whole: Path, tmp_path: Path) -> None:
        """Killed at the first moment that the study file is there, it goes on without a flag."""
        directory = tmp_path / "study"
        assert killed(server, directory, lambda: (directory / "study.toml").exists())
        assert server.run("evolve", "--out", str(directory), "--quiet", "--threads", "1") == (0, "")
        assert_alike(directory, whole)


def whole_lines(directory: Path) -> list[dict[str, Any]]:
    """The lines of a log that another process writes."""
    path = directory / "training.log"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def assert_one_sentence(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    assert ended.text.startswith("lossmith: ")
    assert ended.text.count("\n") == 1
    assert ended.text.endswith("\n")
    for word in words:
        assert word in ended.text


class TestNoRoom:
    def test_at_every_size(self, server: Server, tiny: Path, tmp_path: Path) -> None:
        """With more room each time, the run gets further and further, and loses nothing on the way."""
        directory = tmp_path / "study"
        refusals, before = 0, set[tuple[Any, ...]]()
        for limit in (0, 3_000, 20_000, 36_000, 40_000, 50_000, 60_000, 60_000, 70_000, 90_000, 120_000):
            ended = server.run("evolve", "--out", str(directory), *TINY, limit=limit)
            if ended.code == 0:
                break
            assert_one_sentence(ended, str(directory))
            refusals += 1
            if (directory / "best.json").exists():
                assert (directory / "best.json").read_bytes() == (tiny / "best.json").read_bytes()
            assert before <= stored(directory)
            before = stored(directory)
            assert isinstance(log_of(directory), list)
            assert not list(directory.glob(".*")), "a temporary file is left"
        assert refusals >= 6
        assert before
        assert server.run("evolve", "--out", str(directory), *TINY) == (0, "")
        assert_alike(directory, tiny)

    @pytest.mark.parametrize("limit", [3_000, 45_000])
    def test_from_the_beginning(self, server: Server, tiny: Path, tmp_path: Path, limit: int) -> None:
        directory = tmp_path / "study"
        assert_one_sentence(server.run("evolve", "--out", str(directory), *TINY, limit=limit), str(directory))
        assert not (directory / "best.json").exists()
        assert server.run("evolve", "--out", str(directory), *TINY) == (0, "")
        assert_alike(directory, tiny)

    @pytest.mark.parametrize("limit", [0, 2_000, 60_000])
    def test_an_ended_study(self, server: Server, tiny: Path, tmp_path: Path, limit: int) -> None:
        """An ended study that is run again without any room keeps its winner and its pictures."""
        directory = tmp_path / "study"
        shutil.copytree(tiny, directory)
        assert_one_sentence(server.run("evolve", "--out", str(directory), *TINY, limit=limit), str(directory))
        assert_alike(directory, tiny)
        for picture in ("history.png", "loss.png"):
            assert (directory / "figures" / picture).read_bytes() == (tiny / "figures" / picture).read_bytes()

    def test_no_line_of_the_log_is_torn(self, server: Server, tiny: Path, tmp_path: Path) -> None:
        line = json.dumps({"event": "noted"}) + "\n"
        log = tmp_path / "training.log"
        log.write_text(content := line * (200_000 // len(line)))
        ended = server.run("evolve", "--out", str(tmp_path), *TINY, limit=len(content) + 50)
        assert_one_sentence(ended, "training.log cannot be written", "make room and run the same command again")
        assert log.read_text() == content
        assert server.run("evolve", "--out", str(tmp_path), *TINY) == (0, "")
        assert tables(tmp_path) == tables(tiny)


class TestRefused:
    def test_while_another_works(self, server: Server, tiny: Path) -> None:
        with Store(tiny):
            assert_one_sentence(server.run("evolve", "--out", str(tiny), *TINY), "another process", str(tiny))
            ended = server.run("show", str(tiny), "--json")
            assert ended.code == 0
            assert json.loads(ended.text)["state"] == "ended"
        assert server.run("evolve", "--out", str(tiny), *TINY) == (0, "")

    def test_a_damaged_database(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "study.db").write_bytes(content := random.Random(0).randbytes(10_000))
        assert_one_sentence(server.run("evolve", "--out", str(tmp_path), *TINY), "study.db is damaged")
        assert_one_sentence(server.run("show", str(tmp_path)), "study.db is damaged")
        assert (tmp_path / "study.db").read_bytes() == content
        assert not (tmp_path / "study.toml").exists()

    def test_another_configuration(self, server: Server, tiny: Path) -> None:
        ended = server.run("evolve", "--out", str(tiny), "--lr", "0.2", "--quiet")
        assert_one_sentence(ended, "recipe.lr = 0.1, not 0.2")
        ended = server.run("evolve", "--out", str(tiny), "--generations", "3", "--quiet")
        assert_one_sentence(ended, "has 7 generations already")

    def test_interrupted(self, server: Server, whole: Path, tmp_path: Path) -> None:
        directory = tmp_path / "study"
        process = server.start("evolve", "--out", str(directory), *JOB)
        while len(stored(directory)) < 10:
            assert not server.ends_within(0.001)
        os.kill(process, signal.SIGINT)
        ended = server.end()
        assert ended.code == 130
        assert f"go on with: lossmith evolve --out {directory} --threads 1\n" in ended.text
        assert "Traceback" not in ended.text
        assert server.run("evolve", "--out", str(directory), *JOB) == (0, "")
        assert_alike(directory, whole)
        assert lossmith.load(directory / "best.json").shape == ()
