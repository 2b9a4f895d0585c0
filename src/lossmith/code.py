"""Python code of the user's own, named ``package.module:name`` or ``FILE.py:name``.

A name is data; to load what it names runs code. So only what the user names is loaded, and nothing for a file alone.
"""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from lossmith.errors import InputError, brief

FORMS = "package.module:function or FILE.py:function"


class ByName:
    """What holds code of the user's by its name, and finds it again in another process: a frozen dataclass.

    Args:
        name: ``package.module:name`` or ``FILE.py:name``.
        directory: Where its module is looked for, too.
    """

    name: str
    directory: str


def is_code(name: str) -> bool:
    """Whether a name is one of code."""
    return ":" in name


def check_code(name: str, kind: str) -> None:
    """See that a name has one of the two forms; nothing is loaded.

    Args:
        name: The name.
        kind: What it is to name, for messages.

    Raises:
        InputError: if it has another form.
    """
    place, _, function = name.rpartition(":")
    file = code_file(name) is not None and "\0" not in place
    if not (function.isidentifier() and (file or all(word.isidentifier() for word in place.split(".")))):
        raise InputError(f"there is no {kind} {brief(name)}; give your own {kind} as {FORMS}")


def code_file(name: str) -> Path | None:
    """The file that a name gives; None for a module."""
    place = name.rpartition(":")[0]
    return Path(place) if place.endswith(".py") else None


def absolute_code(name: str) -> str:
    """A name whose file, if it gives one, has its absolute path, so that it is the same from anywhere."""
    file = code_file(name)
    return name if file is None else f"{file.expanduser().absolute()}:{name.rpartition(':')[2]}"


def portable_code(name: str) -> str:
    """A name whose file, if it gives one, stands without its folder, as tables and other machines know it."""
    file = code_file(name)
    return name if file is None else f"{file.name}:{name.rpartition(':')[2]}"


def source_of(name: str) -> str | None:
    """A digest of the file that holds code that was loaded before; None where no file is known."""
    place = name.rpartition(":")[0]
    file = code_file(name)
    if file is None:
        found = getattr(sys.modules.get(place), "__file__", None)
        file = None if found is None else Path(found)
    return None if file is None or not file.is_file() else hashlib.sha256(file.read_bytes()).hexdigest()


def digest_of_code(code: Any) -> str | None:
    """A digest of the text of a class or function, or of the file of a name; None where nobody knows it."""
    if isinstance(code, str):
        return source_of(code) if is_code(code) else None
    inner = code.func if isinstance(code, functools.partial) else code
    try:
        return hashlib.sha256(inspect.getsource(inner).encode()).hexdigest()
    except (OSError, TypeError):
        return None


def load_code(name: str, kind: str, directory: str) -> Any:
    """What a name of the user's stands for. Its module runs once in a process, and again if its file has changed.

    Args:
        name: ``package.module:name`` or ``FILE.py:name``.
        kind: What it is to be, for messages.
        directory: Where modules are looked for, too, after those that are installed.

    Raises:
        InputError: if the name has another form, the module cannot be imported, or has nothing of that name.
    """
    check_code(name, kind)
    place, _, function = name.rpartition(":")
    with importable(name, directory):
        try:
            module = _of_file(Path(place)) if code_file(name) is not None else importlib.import_module(place)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{place}, which has the {kind} {function}, cannot be imported ({described(error)}): correct it, its "
                "name or the current directory"
            ) from error
    if not hasattr(module, function):
        raise InputError(f"{place} has no {function}: correct the {kind} {name}" + hidden(module, directory))
    return getattr(module, function)


def is_importable(name: str) -> bool:
    """Whether a module of that name, without dots, can be found, in the current directory too; nothing is imported."""
    if not name.isidentifier():
        return False
    with importable(f"{name}:", str(Path.cwd())):
        found = _spec(name)
        return found is not None and found.origin is not None


@contextmanager
def importable(name: str, directory: str) -> Iterator[None]:
    """Meanwhile code that lies beside the user's can be imported, the last of all.

    That is the folder of a file, or a directory in which the module of that name lies: what is installed needs none,
    and a file that lies there must never take the place of what is installed.
    """
    importlib.invalidate_caches()
    file = code_file(name)
    if file is None:
        found = _spec(name.partition(":")[0].partition(".")[0])
        installed = found is not None and found.origin is not None and not _lies_in(found.origin, directory)
    else:
        directory, installed = str(file.expanduser().absolute().parent), False
    if installed or directory in sys.path:
        yield
        return
    sys.path.append(directory)
    try:
        yield
    finally:
        if directory in sys.path:
            sys.path.remove(directory)


def described(error: BaseException) -> str:
    """Type of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def hidden(module: ModuleType, directory: str) -> str:
    """What to do if the directory has a module of that name, too, which one that is installed hides."""
    name, file = module.__name__.partition(".")[0], getattr(module, "__file__", None)
    own = next((one for one in (Path(directory, f"{name}.py"), Path(directory, name)) if one.exists()), None)
    if own is None or file is None or "." in module.__name__ or _lies_in(file, directory):
        return ""
    return f", or give {own} a name that nothing installed has: the module taken is {file}"


def _of_file(path: Path) -> ModuleType:
    """The module of a file, under a name that no other module has."""
    path = path.expanduser().absolute()
    if not path.is_file():
        raise InputError(f"there is no file {path}: check its path")
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape") + path.read_bytes()).hexdigest()[:16]
    name = f"lossmith_own_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _spec(name: str) -> ModuleSpec | None:
    """Where the module of a name without dots is; nothing is imported."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _lies_in(file: str, directory: str) -> bool:
    """Whether a module, or a package by its first file, lies in a directory itself."""
    path = Path(file)
    return Path(directory) in (path.parent, path.parent.parent if path.name == "__init__.py" else path.parent)
