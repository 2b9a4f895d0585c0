"""The code blocks of README.md, CONTRIBUTING.md and docs/ do what they say, in their order.

Each page has an empty directory and a process of its own, so that what it registers is nowhere else. Python blocks
share one namespace. In shell blocks (``console``: the lines after ``$ ``; ``bash`` and ``sh``: every
line) each command must succeed. `make demo` and `make test` are left out, since the tests are called by the latter.
An HTML comment on the line before a block changes that:

- ``<!-- not run: why -->``: the block is left out.
- ``<!-- run instead: command -->``: the command runs in the block's place, for example the same with fewer generations.
- ``<!-- file: name -->``: the block is written to that file, for the blocks after it.
"""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SHELL = {"console", "bash", "sh", "shell"}
# The kinds of blocks that a page must have; the page on robustness attacks with the extra robust, and that on
# integrations uses many other packages, whose warnings are not ours.
LENIENT = "docs/integrations.md"
PAGES = [
    pytest.param("README.md", {"python"}, id="README.md"),
    pytest.param("CONTRIBUTING.md", {"python"}, id="CONTRIBUTING.md"),
    pytest.param("docs/start.md", {"python", "shell"}, id="docs/start.md"),
    pytest.param("docs/command-line.md", {"shell"}, id="docs/command-line.md"),
    pytest.param("docs/which-loss.md", {"python"}, id="docs/which-loss.md"),
    pytest.param("docs/budget.md", {"shell"}, id="docs/budget.md"),
    pytest.param("docs/speed.md", {"shell"}, id="docs/speed.md"),
    pytest.param("docs/imbalance.md", {"python"}, id="docs/imbalance.md"),
    pytest.param("docs/metrics.md", {"python"}, id="docs/metrics.md"),
    pytest.param("docs/theory.md", {"python", "shell"}, id="docs/theory.md"),
    pytest.param("docs/data.md", {"python", "shell"}, id="docs/data.md"),
    pytest.param("docs/using.md", {"python", "shell"}, id="docs/using.md"),
    pytest.param("docs/label-noise.md", {"python", "shell"}, id="docs/label-noise.md"),
    pytest.param("docs/own-work.md", {"python"}, id="docs/own-work.md"),
    pytest.param("docs/studies.md", {"python"}, id="docs/studies.md"),
    pytest.param("docs/robustness.md", {"python", "shell"}, id="docs/robustness.md", marks=pytest.mark.integration),
    pytest.param("docs/scale.md", {"python", "shell"}, id="docs/scale.md", marks=pytest.mark.integration),
    pytest.param(LENIENT, {"python", "shell"}, id=LENIENT, marks=pytest.mark.integration),
]
LEFT_OUT = {"make demo", "make test"}
FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w+-]*)")
COMMENT = re.compile(r"\s*<!--\s*(?P<order>not run|run instead|file):\s*(?P<text>.*?)\s*-->\s*")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, the number of its first line, and what the comment before it orders."""

    language: str
    text: str
    line: int
    order: str = ""
    argument: str = ""


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks of a Markdown text."""
    found: list[Block] = []
    lines = markdown.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        closing = re.compile(rf" *{re.escape(opening['fence'])}[`~]*\s*")
        first = number + 1
        last = next((i for i in range(first, len(lines)) if closing.fullmatch(lines[i])), None)
        assert last is not None, f"the block in line {first} has no end"
        before = [line for line in lines[max(0, number - 2) : number] if line.strip()]
        comment = COMMENT.fullmatch(before[-1]) if before else None
        order, argument = (comment["order"], comment["text"]) if comment else ("", "")
        assert not comment or argument, f"line {number}: say more after `{order}:`"
        text = textwrap.dedent("\n".join(lines[first:last]))
        found.append(Block(opening["language"].lower(), text, first + 1, order, argument))
        number = last + 1
    return found


def commands(block: Block) -> list[str]:
    """The commands of a shell block; a backslash at the end of a line joins it with the next."""
    joined = re.sub(r"\\\n\s*(?:> )?", "", block.text)
    lines = [line.strip() for line in joined.splitlines()]
    if block.language == "console" or any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ").strip() for line in lines if line.startswith("$ ")]
    written = [re.sub(r"\s+#\s.*$", "", line) for line in lines if line and not line.startswith("#")]
    return [line for line in written if line not in LEFT_OUT]


# It runs commands in forks of itself.
SERVER = Path(__file__).with_name("forks.py")


@functools.cache
def server() -> subprocess.Popen[str]:
    """A process that runs commands of lossmith, one at a time, in this directory."""
    started = subprocess.Popen(
        [sys.executable, "-P", str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert said(started) == "ready"
    return started


def said(process: subprocess.Popen[str]) -> Any:
    """The next line of that process, from JSON."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def run_lossmith(arguments: list[str]) -> tuple[int, str]:
    """Run a command of lossmith; its exit code and what it printed."""
    forks = server()
    assert forks.stdin is not None
    forks.stdin.write(json.dumps([arguments, None]) + "\n")
    forks.stdin.flush()
    said(forks)  # The number of the process.
    code, text = said(forks)
    return code, text


def end_server() -> None:
    """End that process, if it was begun."""
    if server.cache_info().currsize:
        server().communicate()
        server.cache_clear()


def run_command(command: str, line: int) -> None:
    """Run one command as a user would, with this interpreter's own scripts first.

    The script of lossmith itself is run once a page; what it takes to start costs much more than most commands.
    """
    parts = [shlex.split(part, comments=True) for part in command.split(" && ")]
    if all(words[:1] == ["lossmith"] for words in parts) and not set(command) & set("|<>;$`*"):
        if server.cache_info().currsize:
            for words in parts:
                code, text = run_lossmith(words[1:])
                assert code == 0, f"line {line}: `{command}` ended with {code}\n{text}"
            return
        server()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["/bin/sh", "-e", "-c", command],
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, f"line {line}: `{command}` ended with {run.returncode}\n{run.stdout}\n{run.stderr}"


def run_all(markdown: str, page: str = "README.md") -> list[Block]:
    """Run what a Markdown text shows, in the working directory, and return the blocks that did something."""
    ran: list[Block] = []
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(markdown):
        if block.order == "not run":
            continue
        if block.order == "run instead":
            run_command(block.argument, block.line)
        elif block.order == "file":
            Path(block.argument).write_text(block.text + "\n", encoding="utf-8")
        elif block.language == "python":
            # The empty lines make a traceback show the line of the page.
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), namespace)  # noqa: S102
        elif block.language in SHELL and commands(block):
            for command in commands(block):
                run_command(command, block.line)
        else:
            continue
        ran.append(block)
    return ran


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "kinds"), PAGES)
def test_page_does_what_it_says(page: str, kinds: set[str]) -> None:
    # Without -P the modules beside this file could be imported.
    warned = "ignore" if page == LENIENT else "error"
    command = [sys.executable, "-P", "-W", warned, str(Path(__file__).resolve()), page]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, f"{page}:\n{run.stdout}\n{run.stderr}"
    assert set(run.stdout.splitlines()[-1].split()) == kinds, f"of {page} other blocks were run"


EXAMPLE = """\
# Title

```console
$ make demo
$ echo one > made.txt  # a comment
output of it
$ echo two \\
    >> made.txt
```

Text with `code`.

<!-- not run: it needs the network -->
```bash
false
```

- In a list:

  ```python
  n = 1
  for _ in range(2):
      n += 1
  ```

```text
not code
```

<!-- file: module.py -->

```python
value = 7
```

<!-- run instead: cp made.txt instead.txt -->
```console
$ false
```

~~~python
from pathlib import Path
Path("n.txt").write_text(f"{n}")
~~~
"""


def test_blocks_are_found_with_their_lines_and_orders() -> None:
    found = blocks(EXAMPLE)
    assert [block.language for block in found] == ["console", "bash", "python", "text", "python", "console", "python"]
    assert [block.order for block in found] == ["", "not run", "", "", "file", "run instead", ""]
    assert found[0].line == 4
    assert found[2].text == "n = 1\nfor _ in range(2):\n    n += 1"
    assert found[5].argument == "cp made.txt instead.txt"


def test_commands_are_the_lines_after_the_prompt() -> None:
    assert commands(blocks(EXAMPLE)[0]) == ["echo one > made.txt", "echo two >> made.txt"]
    assert commands(Block("bash", "# first\nmake test\nlossmith --help\n", 1)) == ["lossmith --help"]
    assert commands(Block("bash", "$ lossmith --help\nusage", 1)) == ["lossmith --help"]


def test_everything_is_run_in_order(empty_directory: Path) -> None:
    ran = run_all(EXAMPLE)
    assert [block.line for block in ran] == [4, 21, 33, 38, 42]
    made = {path.name: path.read_text(encoding="utf-8") for path in empty_directory.iterdir()}
    assert made == {"made.txt": "one\ntwo\n", "instead.txt": "one\ntwo\n", "module.py": "value = 7\n", "n.txt": "3"}


@pytest.mark.parametrize("language", ["console", "bash"])
def test_a_failing_command_fails(language: str) -> None:
    text = f"```{language}\n$ {shlex.quote(sys.executable)} -c 'raise SystemExit(2)'\n```"
    with pytest.raises(AssertionError, match=r"line 2: .* ended with 2"):
        run_all(text)


def test_a_failing_command_of_lossmith_fails(empty_directory: Path) -> None:
    server()
    try:
        with pytest.raises(AssertionError, match=r"line 1: .* ended with 2\s+lossmith: nowhere holds no study"):
            run_command("lossmith show nowhere  # a comment", 1)
        run_command("lossmith --version && lossmith explain mse --figure mse.png", 2)
    finally:
        end_server()
    assert [path.name for path in empty_directory.iterdir()] == ["mse.png"]


def test_a_failing_python_block_fails_at_its_line() -> None:
    with pytest.raises(ZeroDivisionError) as failure:
        run_all("text\n\n```python\nx = 1\nx / 0\n```")
    assert failure.traceback[-1].lineno == 4  # counted from 0: the fifth line
    assert str(failure.traceback[-1].path).endswith("README.md")


@pytest.mark.parametrize("text", ["```python\nx = 1", "<!-- not run: -->\n```bash\nfalse\n```"])
def test_a_block_without_end_or_an_order_without_reason_is_an_error(text: str) -> None:
    with pytest.raises(AssertionError):
        run_all(text)


def test_a_text_without_blocks_runs_nothing() -> None:
    assert run_all("Nothing here.\n") == []


if __name__ == "__main__":
    done = [
        block
        for block in run_all((ROOT / sys.argv[1]).read_text(encoding="utf-8"), sys.argv[1])
        if block.order != "file"
    ]
    end_server()
    sys.stdout.write("\n" + " ".join("shell" if block.language in SHELL else block.language for block in done) + "\n")
