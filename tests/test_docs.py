"""The site's own parts, and the files that a code host reads. The site itself is checked by `make docs`."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from docsite import check, commands, examples, links, names, pictures, reference
from matplotlib.figure import Figure
from packaging.requirements import Requirement

from lossmith.cli import COMMANDS
from lossmith.errors import InputError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TESTS = """\
import os


class TestA:
    def test_b(self):
        pass


@mark
def test_c():
    pass
"""


@pytest.fixture
def tree(tmp_path: Path) -> links.Repository:
    """A small repository."""
    files = {
        "docs/page.md": "[code](../src/a.py) [table](../results/t.csv) ![p](../results/p.png) [home](../README.md#x)",
        "docs/other.md": "# Other\n",
        "README.md": "# X\n\n[more](docs/other.md) [folder](results) [script](examples/run.py) [all](examples)\n",
        "src/a.py": "x = 1\n",
        "results/t.csv": "a,b\n1,2\n",
        "results/p.png": "\0",
        "examples/run.py": '"""Run."""\n',
        "tests/test_a.py": TESTS,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in links.ALWAYS:
        (tmp_path / name).write_text("# Always\n", encoding="utf-8")
    return links.Repository(tmp_path)


class TestLinks:
    def test_what_lies_outside_of_the_docs_gets_a_page(self, tree: links.Repository) -> None:
        text = (tree.root / "docs/page.md").read_text(encoding="utf-8")
        assert tree.changed("docs/page.md", text) == (
            "[code](/repository/src/a.py.md) [table](/repository/results/t.csv.md) "
            "![p](/../results/p.png) [home](/repository/README.md#x)"
        )

    @pytest.mark.parametrize(
        ("target", "found"),
        [
            ("other.md#a", "/other.md#a"),
            ("https://example.org/x.md", "https://example.org/x.md"),
            ("mailto:x@example.org", "mailto:x@example.org"),
            ("#here", "#here"),
            ("/index.md", "/index.md"),
            ("../../outside.md", "../../outside.md"),
            ("../src/nothing.py", "../src/nothing.py"),
            ("../examples/run.py", "/examples/run.rst"),
            ("../examples", "/examples/index.rst"),
            ("../results", "/repository/results/index.md"),
        ],
    )
    def test_where_a_link_leads(self, tree: links.Repository, target: str, found: str) -> None:
        assert tree.target("docs/page.md", target) == found

    def test_code_is_no_link(self, tree: links.Repository) -> None:
        text = "`[a](../src/a.py)` and ``[b](../src/a.py)``\n\n```python\n[c](../src/a.py)\n```\n\n"
        text += "~~~\n[d](../src/a.py)\n```\n~~~\n"
        assert tree.changed("docs/page.md", text) == text
        assert tree.changed("docs/page.md", f"{text}[e](../src/a.py)").endswith("\n[e](/repository/src/a.py.md)")

    def test_a_picture_in_a_link(self, tree: links.Repository) -> None:
        text = "[![p](../results/p.png)](../src/a.py)"
        assert tree.changed("docs/page.md", text) == "[![p](/../results/p.png)](/repository/src/a.py.md)"

    def test_all_that_is_linked_is_made_and_no_more(self, tree: links.Repository) -> None:
        made = tree.pages()
        assert set(made) == {
            *(f"repository/{name}" for name in ("src/a.py.md", "results/t.csv.md", "README.md", "results/index.md")),
            *(f"repository/{name}" for name in links.ALWAYS),
        }
        assert all(text.startswith("---\norphan: true\n---\n") for text in made.values())
        assert "(/other.md)" in made["repository/README.md"]
        assert "[`t.csv`](/repository/results/t.csv.md)" in made["repository/results/index.md"]
        assert "p.png" not in made["repository/results/index.md"]
        assert "{literalinclude} /../src/a.py\n:language: python" in made["repository/src/a.py.md"]

    def test_tests_have_a_heading_for_each_class_and_function(self, tree: links.Repository) -> None:
        made = tree.pages(
            lambda page, text: f"{text} [t](../tests/test_a.py#testa)" if page == "docs/page.md" else text
        )
        page = made["repository/tests/test_a.py.md"]
        assert re.findall(r"^## (\w+)\n\n.*\n.*\n:lines: (.+)$", page, re.MULTILINE) == [
            ("TestA", "4-6"),
            ("test_c", "9-11"),
        ]
        assert ":lines: 1-3\n" in page

    def test_what_is_the_same_is_not_written_again(self, tmp_path: Path) -> None:
        links.write(tmp_path, {"a/b.md": "one"})
        (tmp_path / "a/b.md").touch()
        before = (tmp_path / "a/b.md").stat().st_mtime_ns
        links.write(tmp_path, {"a/b.md": "one"})
        assert (tmp_path / "a/b.md").stat().st_mtime_ns == before
        links.write(tmp_path, {"a/b.md": "two"})
        assert (tmp_path / "a/b.md").read_text(encoding="utf-8") == "two"

    def test_every_link_of_the_pages_leads_to_a_page_or_a_file(self) -> None:
        repository = links.Repository(ROOT)
        for page in repository.written():
            text = (ROOT / page).read_text(encoding="utf-8")
            for path in repository.linked(page, text):
                assert repository.place(path).startswith("/")
                assert (ROOT / path).exists()


@pytest.fixture(scope="module")
def described() -> dict[str, str]:
    """The pages of the Python reference."""
    return reference.pages()


class TestReference:
    @pytest.mark.parametrize("package", reference.PACKAGES)
    def test_every_exported_name_is_described_or_linked(self, described: dict[str, str], package: str) -> None:
        page = described[f"reference/python/{package}.md"]
        for name in import_module(package).__all__:
            own = re.search(rf"^\.\. (autoclass|autofunction):: {re.escape(package)}\.{name}$", page, re.MULTILINE)
            value = re.search(rf"^\.\. py:data:: {name}$", page, re.MULTILINE)
            elsewhere = re.search(rf"\{{py:obj\}}`lossmith[\w.]*\.{name}`", page)
            assert own or value or elsewhere, f"{package}.{name} is nowhere"

    def test_every_public_package_is_there(self) -> None:
        exporting = {
            f"lossmith.{path.parent.name}"
            for path in (ROOT / "src/lossmith").glob("*/__init__.py")
            if "__all__" in path.read_text(encoding="utf-8")
        }
        # Commands are typed, and have pages of their own.
        assert exporting - set(reference.PACKAGES) == {"lossmith.cli"}

    def test_a_name_is_described_once(self) -> None:
        described = reference.all_described()
        assert described["lossmith.Loss"] == described["lossmith.losses.Loss"] == "lossmith.Loss"
        assert described["lossmith.theory.margin"] != described["lossmith.theory.symbolic.margin"]
        for name in described.values():
            assert described[name] == name

    def test_a_value_says_what_the_source_says(self, described: dict[str, str]) -> None:
        assert reference.told("lossmith.study.finalists", "SMOOTHINGS") in reference.page(
            "lossmith.study", reference.names("lossmith.study", {})
        )
        page = described["reference/python/lossmith.theory.md"]
        assert ".. py:data:: EPSILONS\n   :module: lossmith.theory\n   :value: (0.01, 0.1," in page

    def test_bars_are_bars(self) -> None:
        assert reference.without_substitutions("|a - b| and ``|c|`` and `|d|`") == r"\|a - b\| and ``|c|`` and `|d|`"


class TestCommands:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_flag_is_on_the_page_with_its_words(self, command: str) -> None:
        text, page = commands.help_of(command), commands.page(command)
        columns = re.findall(r"^│ (-.*?)(?:  | [A-Z{]|$)", text, re.MULTILINE)
        flags = {name for column in columns for name in re.findall(r"--[a-z0-9-]+", column)}
        assert flags > {"--help"}
        found = [flag for group in commands.groups(text) for flag in group.flags]
        assert {name for flag in found for name in re.findall(r"(?<!\S)--[a-z0-9-]+", flag)} == flags
        for group in commands.groups(text):
            for flag, words in group.flags.items():
                assert len(words) > 10
                assert f"({commands.anchor(command, flag)})=\n`{flag}`\n: {commands.plain(words)}\n" in page
        anchors = [commands.anchor(command, flag) for flag in found]
        assert len(set(anchors)) == len(anchors)

    def test_a_help_that_cannot_be_read_is_an_error(self) -> None:
        with pytest.raises(AssertionError, match="no flag begins this line"):
            list(commands.groups("╭─ options ──╮\n│ wrong       │\n╰────────────╯"))

    def test_long_choices_are_joined(self) -> None:
        text = "╭─ options ──╮\n│ --a {b,      │\n│ c,d}        │\n│     Which it │\n│     is.      │\n╰──────────────╯"
        (group,) = commands.groups(text)
        assert group.flags == {"--a {b,c,d}": "Which it is."}

    def test_text_stays_text(self) -> None:
        assert commands.plain("a_b *c* `d` [e](f) <g> $h$ \\") == r"a\_b \*c\* \`d\` \[e\](f) \<g\> \$h\$ \\"


class TestNames:
    KNOWN = names.Names(reference.all_described(), COMMANDS, ROOT / "tests")

    @pytest.mark.parametrize(
        ("page", "code", "found"),
        [
            ("docs/using.md", "lossmith.Loss", "{py:obj}`lossmith.Loss <lossmith.Loss>`"),
            (
                "docs/using.md",
                "lossmith.losses.Loss.gamma",
                "{py:obj}`lossmith.losses.Loss.gamma <lossmith.Loss.gamma>`",
            ),
            ("docs/using.md", "margin", "`margin`"),
            ("docs/theory.md", "margin", "{py:obj}`margin <lossmith.theory.margin>`"),
            ("docs/theory.md", "attraction(…, form=1)", "{py:obj}`attraction(…, form=1) <lossmith.theory.attraction>`"),
            ("docs/using.md", "lossmith explain mse", "[`lossmith explain mse`](/reference/commands/explain.md)"),
            ("docs/using.md", "lossmith unknown", "`lossmith unknown`"),
            ("docs/paper.md", "test_cli.py::TestHelp", "[`test_cli.py::TestHelp`](../tests/test_cli.py#testhelp)"),
            ("docs/paper.md", "test_nowhere.py", "`test_nowhere.py`"),
            ("docs/using.md", "x = lossmith.Loss", "`x = lossmith.Loss`"),
        ],
    )
    def test_inline_code(self, page: str, code: str, found: str) -> None:
        assert self.KNOWN.linked(page, f"so `{code}` is") == f"so {found} is"
        for text in (f"# `{code}`\n", f"[`{code}`](x.md)\n", f"```\n`{code}`\n```\n", f"``{code}``\n"):
            assert self.KNOWN.linked(page, text) == text

    def test_the_index_of_the_paper_is_linked(self) -> None:
        text = self.KNOWN.linked("docs/paper.md", (DOCS / "paper.md").read_text(encoding="utf-8"))
        rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
        assert len(rows) > 20
        for row in rows:
            assert "{py:obj}`" in row, f"no function is linked: {row}"
            assert "](../tests/test_" in row, f"no test is linked: {row}"
            assert "](/reference/commands/" in row, f"no command is linked: {row}"
        (twelve,) = (row for row in rows if row.startswith("| 12 "))
        assert "<lossmith.theory.coefficients>" in twelve
        assert "<lossmith.theory.symbolic.coefficients>" in twelve

    def test_its_tests_are_there(self) -> None:
        text = (DOCS / "paper.md").read_text(encoding="utf-8")
        file = ""
        for name in re.findall(r"`((?:test_\w+\.py|Test\w+)[\w:.]*)`", text):
            first, *parts = name.split("::")
            file, parts = (first, parts) if first.endswith(".py") else (file, [first, *parts])
            nodes: list[ast.stmt] = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8")).body
            for part in parts:
                found = [
                    node for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part
                ]
                assert found, f"{name} is not there"
                nodes = found[0].body


class TestGallery:
    def test_an_example_gets_a_title_and_keeps_its_code(self) -> None:
        source = '"""A thing, and ``more``.\n\n    python x.py\n\nText.\n"""\n\nimport os\n\nprint(os)\n'
        made = examples.titled(source, ran=True)
        assert made.startswith('"""\nA thing, and more\n=================\n\n')
        assert "python x.py" in made
        assert made.endswith("\nimport os\n\nprint(os)\n")
        assert examples.REMARK not in made
        assert f"{examples.REMARK}\n\n..\n\n\n    python x.py" in examples.titled(source, ran=False)

    def test_every_example_can_be_shown(self, tmp_path: Path) -> None:
        examples.write(ROOT / "examples", DOCS / "gallery" / "EXAMPLES_HEADER.rst", tmp_path)
        made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.py")}
        assert made.keys() == {path.name for path in (ROOT / "examples").glob("*.py")} > set(examples.SHOWN)
        for name, text in made.items():
            compile(text, name, "exec")
            assert (examples.REMARK in text) == (name in examples.SHOWN)

    def test_figures_are_taken_once(self) -> None:
        figure = Figure()
        assert list(pictures.new_figures({"a": figure, "b": figure, "c": 1})) == [figure]
        assert list(pictures.new_figures({"a": figure})) == []

    def test_the_curves_are_drawn(self, tmp_path: Path) -> None:
        script = DOCS / "gallery" / "plot_curves.py"
        code = f"import runpy\nfound = runpy.run_path({str(script)!r})\n"
        code += "print(len({id(v) for v in found.values() if type(v).__name__ == 'Figure'}))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        assert (run.returncode, run.stdout) == (0, "3\n"), run.stderr


class TestCheck:
    def site(self, folder: Path, **pages: str) -> list[str]:
        for name, text in pages.items():
            (folder / f"{name}.html").write_text(text, encoding="utf-8")
        return check.complaints(folder)

    @pytest.mark.parametrize(
        "element",
        [
            '<script src="https://cdn.example.org/x.js"></script>',
            '<link rel="stylesheet" href="//cdn.example.org/x.css">',
            '<img src="http://example.org/x.png">',
            '<img src="" srcset="https://example.org/x.png 2x">',
            '<iframe src="https://example.org"></iframe>',
            "<style>@import 'https://example.org/x.css';</style>",
            '<p style="background: url(https://example.org/x.png)">',
        ],
    )
    def test_what_another_host_gives_is_found(self, tmp_path: Path, element: str) -> None:
        assert any("from another host" in line for line in self.site(tmp_path, a=element))

    def test_a_style_sheet_is_looked_at(self, tmp_path: Path) -> None:
        (tmp_path / "x.css").write_text("@font-face { src: url('https://example.org/f.woff2') }")
        assert len(self.site(tmp_path, a="")) == 1
        (tmp_path / "x.css").write_text("@font-face { src: url('f.woff2') }")
        assert self.site(tmp_path, a="") == []

    def test_links_must_lead_somewhere(self, tmp_path: Path) -> None:
        text = '<a href="b.html#there">x</a><a href="b.html#not">x</a><a href="c.html">x</a><a href="#up">x</a>'
        found = self.site(tmp_path, a=text, b='<p id="there">')
        assert [line.partition(": ")[2] for line in found] == [
            "b.html#not leads to no anchor", "c.html leads to no file", "#up leads to no anchor",
        ]  # fmt: skip

    def test_a_link_to_another_host_loads_nothing(self, tmp_path: Path) -> None:
        text = '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org/x">'
        assert self.site(tmp_path, a=text) == []


def test_equations_are_markup_that_browsers_draw() -> None:
    from docsite.mathml import mathml
    from docutils.utils.math import MathError

    pages = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    equations = re.findall(r"\$\$(.+?)\$\$", pages, re.DOTALL)
    assert len(equations) >= 4
    for equation in equations:
        assert mathml(equation, block=True).startswith("<math")
    with pytest.raises(MathError):
        mathml(r"\nothing{x}", block=False)


class TestContents:
    def test_every_page_is_in_the_table_of_contents(self) -> None:
        text = (DOCS / "index.md").read_text(encoding="utf-8")
        trees = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
        lines = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
        listed = [re.sub(r".*<(.+)>", r"\1", line) for line in lines]
        assert len(set(listed)) == len(listed)
        assert {path.stem for path in DOCS.glob("*.md")} - set(listed) == {"index"}
        for name in listed:
            generated = name.startswith(("repository/", "reference/commands"))
            assert generated or (DOCS / f"{name}.md").is_file()
        for name in links.ALWAYS:
            assert f"repository/{name.removesuffix('.md')}" in listed

    def test_what_makes_the_site_is_pinned(self) -> None:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
        for text in extras["docs"]:
            wanted = Requirement(text)
            assert wanted.specifier.contains(pins[wanted.name]), text

    def test_what_is_made_is_not_kept(self) -> None:
        ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
        for folder in ("_build", "pictures", "examples", "repository", "reference/python", "reference/commands"):
            assert f"/docs/{folder}/" in ignored


class TestCodeHost:
    """Files that a code host reads."""

    def test_the_citation_invents_nobody(self) -> None:
        text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert "authors" not in project
        assert re.search(r"^authors:\n  - name: The contributors to lossmith$", text, re.MULTILINE)
        assert f"abstract: {project['description']}\n" in text
        assert f"license: {project['license']}\n" in text
        assert re.findall(
            r"^  - (\S.*)$", text.partition("keywords:")[2].partition("references:")[0], re.MULTILINE
        ) == [word if word != "pytorch" else "PyTorch" for word in project["keywords"]]
        # The version stands in pyproject.toml alone.
        assert not re.search(r"^version:", text, re.MULTILINE)
        readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
        assert "Effective Regularization Through Loss-Function Metalearning* (Gonzalez and Miikkulainen)" in readme

    @pytest.mark.integration
    def test_templates_and_citation_can_be_read(self) -> None:
        yaml = pytest.importorskip("yaml")
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        assert {"cff-version", "message", "title", "authors"} <= citation.keys()
        for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
            form = yaml.safe_load(path.read_text(encoding="utf-8"))
            assert {"name", "description", "body"} <= form.keys()
            fields = [field for field in form["body"] if field["type"] != "markdown"]
            assert len({field["id"] for field in fields}) == len(fields)
            assert all(field["attributes"]["label"] for field in fields)

    def test_what_pages_name_is_there(self) -> None:
        template = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
        for name in re.findall(r"`([\w./]+/[\w./]*)`|(\w+\.md)", template):
            assert (ROOT / "".join(name)).exists(), name
        assert not re.search(r"[\w.]+@[\w.]+", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))

    def test_the_classifiers_name_the_versions_of_python(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found = [word.rpartition(" ")[2] for word in project["classifiers"] if re.search(r":: 3\.\d+$", word)]
        assert found == ["3.11", "3.12", "3.13", "3.14"]
        assert project["requires-python"] == f">={found[0]}"
        # The oldest is that of all other checks; each of the others has a job of its own.
        jobs = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
        assert re.findall(r'"(3\.\d+)"', jobs) == found
        # What is not this project's own address is not named; it has none.
        assert "urls" not in project


def test_a_command_that_is_not_there_makes_no_page() -> None:
    with pytest.raises((InputError, SystemExit)):
        commands.help_of("nothing")
