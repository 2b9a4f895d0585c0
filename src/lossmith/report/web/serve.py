"""The page of a running study, served to this machine alone."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lossmith.code import described
from lossmith.errors import InputError
from lossmith.markup import element
from lossmith.report.web.findings import findings
from lossmith.report.web.page import page_of

HOST, PAGES = "127.0.0.1", ("/", "/report.html")
REFRESH = 5  # seconds


class Served(ThreadingHTTPServer):
    """A server of one page, made anew when the study has changed; only this machine reaches it.

    Args:
        directory: The study's.
        port: Where it listens; 0 takes a free one.

    Raises:
        InputError: if it cannot listen there, or there is no study.
    """

    daemon_threads = True

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory
        self._guard = threading.Lock()
        self._made: tuple[Any, bytes] | None = None
        self._seconds = 0.0
        self.page()
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"the port {port} cannot be listened on: {why}; give another, or leave it out") from None

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """What a browser of this machine may call it: a page of elsewhere that a name leads here calls it otherwise."""
        return {f"{host}:{self.server_port}" for host in (HOST, "localhost")}

    @property
    def refresh(self) -> int:
        """Seconds until a browser asks again; to make the page takes a tenth of them at most."""
        return max(REFRESH, math.ceil(10 * self._seconds))

    def page(self) -> bytes:
        """The page.

        Raises:
            InputError: if the study cannot be read.
        """
        with self._guard:
            state = self._state()
            if self._made is None or self._made[0] != state:
                started = time.perf_counter()
                self._made = (state, page_of(findings(self.directory)).encode())
                self._seconds = time.perf_counter() - started
            return self._made[1]

    def _state(self) -> list[tuple[str, int, int]]:
        """What changes when a study does."""
        names = ("study.db", "study.db-wal", "best.json", "comparison.json", "pareto.json", "study.toml")
        found = []
        for name in names:
            # The process that searches may remove a file at any moment.
            with suppress(FileNotFoundError):
                seen = (self.directory / name).stat()
                found.append((name, seen.st_mtime_ns, seen.st_size))
        return found


class _Handler(BaseHTTPRequestHandler):
    server: Served
    server_version, sys_version = "lossmith", ""

    def do_GET(self) -> None:
        """Send the page."""
        self._send(body=True)

    def do_HEAD(self) -> None:
        """Send what is said of it."""
        self._send(body=False)

    def log_message(self, *_: Any) -> None:
        """Nobody needs a line for each request."""

    def _send(self, body: bool) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        if self.path not in PAGES:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            content = self.server.page()
        except Exception as error:  # Another process may be just writing: the page comes back by itself.
            why = str(error) if isinstance(error, InputError) else described(error)
            content = f"<!DOCTYPE html>{element('p', why)}".encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        # An ended search may be compared yet. What has not changed is not made anew.
        self.send_header("Refresh", str(self.server.refresh))
        self.end_headers()
        if body:
            self.wfile.write(content)
