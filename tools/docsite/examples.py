"""The scripts of ``examples/`` as sphinx-gallery wants them: with a title of its own kind."""

import ast
from pathlib import Path

# Sphinx-gallery runs the others: these need other libraries, or processes that import the script.
SHOWN = ("huggingface.py", "lightning_module.py", "own_training.py")
REMARK = ".. note:: This script is shown and was not run for this page; ``make examples`` runs it."
# Without it, an indented text below would be a part of the remark.
END = "\n\n..\n\n"


def titled(source: str, ran: bool) -> str:
    """A script whose docstring begins with an underlined title: its first sentence.

    Args:
        source: The script.
        ran: Whether the page has its output; if not, it says so.
    """
    node = ast.parse(source).body[0]
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring is not None
    first, _, rest = docstring.partition("\n")
    title = first.rstrip(".").replace("``", "")
    text = f"{title}\n{'=' * len(title)}\n\n{'' if ran else REMARK + END}{rest}"
    body = "\n".join(source.splitlines()[node.end_lineno :])
    return f'"""\n{text}\n"""\n{body}\n'


def write(scripts: Path, header: Path, folder: Path) -> None:
    """Write the scripts and the header of their page to a folder.

    Args:
        scripts: Their folder.
        header: Title and text of the page that lists them.
        folder: Where they are written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"GALLERY_HEADER.rst": header.read_text(encoding="utf-8")}
    for path in sorted(scripts.glob("*.py")):
        texts[path.name] = titled(path.read_text(encoding="utf-8"), path.name not in SHOWN)
    for name, text in texts.items():
        target = folder / name
        # What is the same stays untouched, so that it is not run again.
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
