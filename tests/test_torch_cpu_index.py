"""The Makefile's question whether torch's CPU build is offered: answered, refused, or never answered."""

import importlib.util
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

PAGES = {
    "/cpu/torch/": b'<a href="torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl">torch</a>',
    "/other/torch/": b'<a href="torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl">torch</a>',
}


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in PAGES else 404)
        self.end_headers()
        self.wfile.write(PAGES.get(self.path, b""))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/torch_cpu_index.py on a Linux machine without a GPU and without a proxy."""
    spec = importlib.util.spec_from_file_location("tool", Path(__file__).parents[1] / "tools" / "torch_cpu_index.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "has_gpu", lambda: False)
    monkeypatch.setattr(tool.platform, "system", lambda: "Linux")
    monkeypatch.setenv("no_proxy", "*")
    return tool


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_an_index_with_cpu_builds_is_named(tool: ModuleType, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    tool.main([f"{server}/cpu"])
    assert capsys.readouterr().out == f"{server}/cpu\n"


@pytest.mark.parametrize("path", ["other", "missing"])
def test_an_index_without_cpu_builds_is_not(
    tool: ModuleType, server: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tool.main([f"{server}/{path}"])
    assert capsys.readouterr().out == ""


def test_a_machine_with_a_gpu_is_left_to_pip(
    tool: ModuleType, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "has_gpu", lambda: True)
    tool.main([f"{server}/cpu"])
    assert capsys.readouterr().out == ""


def test_no_network_no_answer(tool: ModuleType, silent: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    port = silent.getsockname()[1]
    silent.close()
    tool.main([f"http://127.0.0.1:{port}"])
    tool.main(["not an address"])
    tool.main([])
    assert capsys.readouterr().out == ""


def test_an_index_that_never_answers_is_given_up(
    tool: ModuleType, silent: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "SECONDS", 0.2)
    tool.main([f"http://127.0.0.1:{silent.getsockname()[1]}"])
    assert capsys.readouterr().out == ""
