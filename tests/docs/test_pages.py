"""Each README page: its links, examples, commands, keys and names are right."""

import ast
import configparser
import importlib.util
import re
import tomllib

import pytest
import yaml

import churn
from churn import charts, errors, results
from churn.settings import Settings, parse

from .generated import TABLES, places
from .pages import HOME, NAMES, between, commands, fenced, options, text

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
SECTIONS = [
    "activity",
    "windows",
    "backtest",
    "model",
    "policy",
    "identity",
    "privacy",
    "gates",
    "nightly",
    "scores",
    "braze",
    "receive",
    "audiences",
    "cluster",
]
EXTRACTS = [{"source": "appsflyer", "path": "data/raw/appsflyer"}]
KINDS = {
    "study": churn.Study,
    "charts": charts,
    "training": results.Training,
    "backtest": results.Backtest,
    "scores": results.Scores,
}
"""What the examples call their variables, and what has the names after the dot."""


@pytest.mark.parametrize("page", NAMES)
def test_links_and_pictures_lead_somewhere(page: str) -> None:
    """Each relative link is a file of the repository, each anchor one of its headings."""
    for path, anchor in LINK.findall(text(page)):
        file = (HOME / page).parent / path if path else HOME / page
        assert file.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
            assert anchor in [_slug(heading) for heading in headings], anchor


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", NAMES)
def test_files_and_modules_that_a_page_names_exist(page: str) -> None:
    """Code such as `churn/report/runner.py` or `python -m tests.benchmarks.quality`."""
    for path in re.findall(r"`((?:churn|tests|notebooks)/[\w/]+\.\w+)", text(page)):
        assert (HOME / path).exists(), path
    for module in re.findall(r"python -m ((?:churn|tests)[\w.]*)", text(page)):
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("page", NAMES)
def test_python_examples_compile_and_use_names_that_exist(page: str) -> None:
    """Each block is Python; methods of a study and of its results are there."""
    for block in fenced(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.Attribute):
                continue
            if isinstance(node.value, ast.Name) and node.value.id in KINDS:
                assert hasattr(KINDS[node.value.id], node.attr), ast.unparse(node)


@pytest.mark.parametrize("page", NAMES)
def test_toml_examples_are_studies(page: str) -> None:
    """Each block parses as a study, or as tables of one that has an extract."""
    for block in fenced(page, "toml"):
        tables = tomllib.loads(block)
        assert parse({"extracts": EXTRACTS, **tables}, HOME), block


@pytest.mark.parametrize("page", NAMES)
def test_commands_that_a_page_names_exist_with_their_options(page: str) -> None:
    """`churn NAME --option` in code, on whatever page."""
    known = commands()
    groups = {name.split()[0] for name in known}
    spans = re.findall(r"`([^`\n]+)`", text(page)) + _lines(page)
    for span in spans:
        called = re.match(
            r"(?:uv run |\.venv/bin/)?churn ([a-z-]+)(?: ([a-z]+))?", span
        )
        if not called:
            continue
        first, second = called.groups()
        assert first in groups, span
        name = first if first in known else f"{first} {second}"
        if name in known:
            wanted = set(re.findall(r"(?<=\s)--[a-z-]+", span))
            assert wanted <= options(known[name]), span


def _lines(page: str) -> list[str]:
    blocks = "\n".join(fenced(page, "sh") + fenced(page, "cron"))
    command = r"(?:^|&& )((?:uv run |\.venv/bin/)?churn [^\n#]+)"
    return re.findall(command, blocks, re.M)


@pytest.mark.parametrize("page", NAMES)
def test_keys_that_a_page_names_exist(page: str) -> None:
    """`section.key` in code is a key of the study, and `[section]` a table of it."""
    named = re.findall(rf"`({'|'.join(SECTIONS)})\.(\w+)`", text(page))
    for section, key in named:
        annotation = Settings.model_fields[section].annotation
        part = getattr(annotation, "__args__", (annotation,))[0]
        assert key in part.model_fields, f"{section}.{key}"
    for section in re.findall(r"`\[+(\w+)\]+`", text(page)):
        assert section in Settings.model_fields, section


@pytest.mark.parametrize("page", NAMES)
def test_errors_that_a_page_names_exist(page: str) -> None:
    """`SomethingError` in code is one of the package's errors."""
    for name in re.findall(r"`(\w+Error)`", text(page)):
        assert hasattr(errors, name), name


@pytest.mark.parametrize("page", NAMES)
def test_scheduler_examples_parse(page: str) -> None:
    """A cron line has five fields and a command; units and workflows parse."""
    for block in fenced(page, "cron"):
        for line in block.splitlines():
            if line and not re.match(r"#|\w+=", line):
                assert re.match(r"([\d*/,-]+\s+){5}\S+", line), line
    for block in fenced(page, "ini"):
        unit = configparser.ConfigParser(strict=False)
        unit.read_string(block)
        assert unit.sections(), block
    for block in fenced(page, "yaml"):
        assert isinstance(yaml.safe_load(block), dict), block


@pytest.mark.parametrize("table", list(TABLES))
def test_generated_tables_are_up_to_date(table: str) -> None:
    """One page has the table, as the code makes it now; write it with
    python -m tests.docs.generated.
    """
    (page,) = places(table)
    assert between(page, table).strip() == TABLES[table]()


def test_nobody_is_asked_to_install_another_project() -> None:
    """The name churn on the package index is somebody else's distribution."""
    files = [HOME / name for name in NAMES] + [HOME / "environment.yml"]
    files += sorted((HOME / "churn").rglob("*.py"))
    files += sorted((HOME / "notebooks").glob("*.ipynb"))
    argument = r"""(?: [\w'"=.~<>\[\],-]+)*?"""
    wrong = re.compile(
        rf"""(?:pip install|uv add|uvx){argument} ['"]?churn(?![\w-])|\bchurn\["""
    )
    for file in files:
        assert not wrong.search(file.read_text(encoding="utf-8")), file
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["name"] != "churn"
