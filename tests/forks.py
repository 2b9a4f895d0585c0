"""Runs commands of lossmith, each in a fork of a process that has imported everything: it starts in milliseconds.

Says "ready"; then, for each line ``[arguments, limit]`` on its input, with a limit on the size of files or null, the
number of the process, and ``[exit code, text]`` at its end. Exit codes below 0 are signals.
"""

import importlib
import json
import os
import resource
import sys


def command(arguments: list[str], limit: int | None, output: int) -> int:
    """Run a command in this process, its output redirected; its exit code."""
    from lossmith.cli import main

    os.dup2(output, 1)
    os.dup2(output, 2)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def serve() -> None:
    """Run what the input asks for, until it ends."""
    from lossmith.cli import COMMANDS

    # Imported by the first command that needs them, otherwise.
    for name in ("sklearn.datasets", "torch._dynamo", *(f"lossmith.cli.{name}" for name in COMMANDS)):
        importlib.import_module(name)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        arguments, limit = json.loads(line)
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            code = 70
            try:
                code = command(arguments, limit, writing)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(writing)
        print(json.dumps(process), flush=True)
        with os.fdopen(reading, "rb") as file:
            text = file.read().decode()
        _, status = os.waitpid(process, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), text]), flush=True)


if __name__ == "__main__":
    serve()
