"""The Makefile's mending of a torchvision that is built for another torch: only where its operators are what fails."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ERROR = "RuntimeError: operator torchvision::nms does not exist\n"


@pytest.fixture
def tool() -> ModuleType:
    """tools/torchvision_import.py."""
    path = Path(__file__).parents[1] / "tools" / "torchvision_import.py"
    spec = importlib.util.spec_from_file_location("torchvision_import", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: ModuleType) -> Path:
    """The file that is changed, of a torchvision which stands for the installed one."""
    origin = tmp_path / "torchvision" / "__init__.py"
    origin.parent.mkdir()
    origin.touch()
    spec = importlib.util.spec_from_file_location("torchvision", origin)
    monkeypatch.setattr(tool, "find_spec", lambda name: spec)
    path = origin.with_name("extension.py")
    path.write_text("import torch\n", encoding="utf-8")
    return path


def answers(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, *errors: str) -> None:
    """What the imports end with, one after another."""
    waiting = iter(errors)
    monkeypatch.setattr(tool, "import_error", lambda: next(waiting))


def test_one_that_can_be_imported_is_left_as_it_is(
    tool: ModuleType, extension: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tool, monkeypatch, "")
    tool.main()
    assert extension.read_text(encoding="utf-8") == "import torch\n"
    assert capsys.readouterr().out == ""


def test_missing_operators_are_declared(
    tool: ModuleType, extension: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tool, monkeypatch, ERROR, "")
    tool.main()
    text = extension.read_text(encoding="utf-8")
    compile(text, str(extension), "exec")
    assert text == "import torch\n" + tool.DECLARED
    assert "without its operators" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("errors", "words", "changed"),
    [
        (["ModuleNotFoundError: No module named 'PIL'"], "not for want of its operators", False),
        ([ERROR, "RuntimeError: operator torchvision::another does not exist"], "declared now", True),
    ],
)
def test_another_error_is_told(
    tool: ModuleType,
    extension: Path,
    monkeypatch: pytest.MonkeyPatch,
    errors: list[str],
    words: str,
    changed: bool,
) -> None:
    answers(tool, monkeypatch, *errors)
    with pytest.raises(SystemExit, match=words) as end:
        tool.main()
    assert errors[-1] in str(end.value)
    assert (extension.read_text(encoding="utf-8") != "import torch\n") == changed


def test_without_torchvision_nothing_is_done(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "find_spec", lambda name: None)
    monkeypatch.setattr(tool, "import_error", lambda: pytest.fail("nothing is imported"))
    tool.main()
