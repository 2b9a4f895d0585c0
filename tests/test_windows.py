"""What there is no Windows here to try: no module needs what Windows lacks, and what replaces it works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossmith import io
from lossmith.study.log import TrainingLog

SOURCE = Path(__file__).parents[1] / "src"
# Modules of the standard library that Windows does not have, and names of os and signal.
MODULES = ("fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios", "tty", "pty", "readline", "crypt")
OF_OS = (
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG"),
    *(
        "chown",
        "chroot",
        "fchmod",
        "fchown",
        "fork",
        "forkpty",
        "getegid",
        "geteuid",
        "getgid",
        "getgroups",
        "getloadavg",
    ),
    *("getpgid", "getpgrp", "getpriority", "getuid", "killpg", "lchown", "major", "mkfifo", "mknod", "nice", "pread"),
    *("pwrite", "sched_getaffinity", "sched_setaffinity", "sendfile", "setpgid", "setsid", "setuid", "statvfs"),
    *("sysconf", "sysconf_names", "uname", "wait", "wait3", "wait4"),
)
OF_SIGNAL = (
    *("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGUSR1", "SIGUSR2"),
    *("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "sigpending", "sigwait"),
)
# Other libraries are loaded first, which know what they do on which system.
LIBRARIES = """
import importlib.util, multiprocessing.connection
for name in (
    "cmaes filelock matplotlib.pyplot numpy pydantic rich.console rich.progress scipy.stats sklearn.datasets sqlite3 "
    "sympy tomli_w torch torch.func torch.fx tyro"
).split():
    importlib.import_module(name)
if importlib.util.find_spec("ray"):
    importlib.import_module("ray.util.state")
"""
HIDDEN = f"""
import os, signal, subprocess, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {MODULES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

for name in {MODULES!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
for module, names in ((os, {OF_OS!r}), (signal, {OF_SIGNAL!r})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
IMPORTED = """
import lossmith, pkgutil
count = 1
for found in pkgutil.walk_packages(lossmith.__path__, "lossmith."):
    if found.name != "lossmith.__main__":
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            # Of an extra, which may not be there.
            assert error.name == "ray", error
        count += 1
print(count)
"""


def run(program: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    found = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    return found.stdout


# What follows the imports is used as on Windows; not a study, whose lock is filelock's, which has other code there.
USED = """
from lossmith.memory import available_memory
from lossmith.training import executor
assert available_memory() is None or available_memory() > 0
lossmith.save(lossmith.mse(), sys.argv[1] + "/best.json")
assert lossmith.load(sys.argv[1] + "/best.json").shape == ()
assert executor("processes").workers >= 1
print("used")
"""


def test_everything_is_imported_and_files_are_written_without_what_windows_lacks(tmp_path: Path) -> None:
    count, used = run(LIBRARIES + HIDDEN + IMPORTED + USED, str(tmp_path)).split()
    modules = [path for path in (SOURCE / "lossmith").rglob("*.py") if path.name != "__main__.py"]
    assert int(count) == len(modules)
    assert used == "used"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("import fcntl", "No module named 'fcntl'"),
        ("os.O_NOFOLLOW", "no attribute 'O_NOFOLLOW'"),
        ("signal.SIGKILL", "no attribute 'SIGKILL'"),
    ],
)
def test_what_is_missing_would_be_seen(statement: str, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        run(HIDDEN + statement)


class TestFiles:
    def test_no_process_is_asked_whether_it_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(io, "IS_WINDOWS", True)
        monkeypatch.setattr(os, "kill", None)
        left = tmp_path / f"{io._mark(tmp_path / 'file.json')}1-abcdefgh"
        left.touch()
        io.write_json({"a": 1}, tmp_path / "file.json")
        assert io.read_json(tmp_path / "file.json") == {"a": 1}
        assert left.exists()

    def test_a_log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):
            monkeypatch.delattr(os, name)
        TrainingLog(tmp_path / "training.log").begun("search", {"generation": 0})
        assert '"generation": 0' in (tmp_path / "training.log").read_text()
