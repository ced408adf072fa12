"""The README can't drift: commands, keys, features, errors and examples named there
exist, and the other way round.

python tests/test_docs.py     rewrites the generated blocks of all guides
"""

import ast
import configparser
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from churn import errors
from churn.cli import app
from churn.features.catalogue import Plan, catalogue
from churn.settings import Settings, parse

HOME = Path(__file__).resolve().parents[1]
README = HOME / "README.md"


def text() -> str:
    """The README."""
    return README.read_text(encoding="utf-8")


def feature_table() -> str:
    """The catalogue, its windows folded together where one meaning has several:
    n_events_{w}d.
    """
    rows: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    for name, feature in catalogue(
        Plan(90, vocabulary=("NAME",), properties=("PROPERTY",))
    ).items():
        stem, days = re.fullmatch(r"(.*?)(?:_(\d+)d)?", name).groups()  # type: ignore[union-attr]
        meaning = re.sub(rf"\b{days}\b", "w", feature.meaning, count=1)
        rows.setdefault((f"{stem}_{{w}}d", feature.kind, meaning), []).append(
            (days, name, feature.meaning)
        )
    lines = [
        f"| `{pattern}` | {', '.join(days for days, *_ in found)} | {kind} | {meaning} |"
        if len(found) > 1
        else f"| `{found[0][1]}` | – | {kind} | {found[0][2]} |"
        for (pattern, kind, meaning), found in rows.items()
    ]
    return "\n".join(["| feature | w | kind | meaning |", "|---|---|---|---|", *lines])


def error_table() -> str:
    """Every exception with the first line of its docstring."""
    kinds = [
        k
        for _, k in inspect.getmembers(errors, inspect.isclass)
        if issubclass(k, errors.ChurnError)
    ]
    lines = [
        f"| `{k.__name__}` | {inspect.getdoc(k).splitlines()[0]} |"
        for k in sorted(kinds, key=_line)
    ]  # type: ignore[union-attr]
    return "\n".join(["| error | means |", "|---|---|", *lines])


def _line(kind: type) -> int:
    return inspect.getsourcelines(kind)[1]


def study_block() -> str:
    """churn.toml, verbatim."""
    return f"```toml\n{(HOME / 'churn.toml').read_text(encoding='utf-8').rstrip()}\n```"


GENERATED = {"features": feature_table, "errors": error_table, "study": study_block}


GUIDES = [README, *(HOME / "churn").rglob("README.md")]


def filled_in(page: str) -> str:
    """The page with its generated blocks as the code says now."""
    for name, make in GENERATED.items():
        start = f"<!-- {name} -->\n"
        end = f"<!-- end {name} -->"
        if start in page:
            before, rest = page.split(start, 1)
            page = f"{before}{start}{make()}\n{end}{rest.split(end, 1)[1]}"
    return page


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_generated_blocks_are_up_to_date(guide: Path) -> None:
    """Tables in each guide equal what the code says now; python tests/test_docs.py
    rewrites them.
    """
    page = guide.read_text(encoding="utf-8")
    assert filled_in(page) == page


@pytest.mark.parametrize("name", list(GENERATED))
def test_every_generated_block_is_in_a_guide(name: str) -> None:
    """Feature table, error table and study each stand in at least one guide."""
    pages = [guide.read_text(encoding="utf-8") for guide in GUIDES]
    assert any(f"<!-- {name} -->" in page for page in pages)


def test_every_key_of_the_study_is_in_churn_toml_with_its_default() -> None:
    """Uncommented, churn.toml knows every key there is; as it stands, it is the default
    study.
    """
    raw = (HOME / "churn.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?(\w+) = ", raw, re.MULTILINE))
    tables = {
        "extracts",
        "activity",
        "windows",
        "backtest",
        "segments",
        "identity",
        "privacy",
        "gates",
        "braze",
        "policy",
        "model",
    }
    assert named == set(_keys(Settings)) - tables
    shown = parse(tomllib.loads(raw), HOME)
    assert shown == parse(
        {"extracts": [{"source": "appsflyer", "path": "data/raw/appsflyer"}]}, HOME
    )


def _keys(part: type[BaseModel]) -> list[str]:
    keys = []
    for name, field in part.model_fields.items():
        inner = getattr(field.annotation, "__args__", (field.annotation,))[0]
        keys += [
            name,
            *(
                _keys(inner)
                if inspect.isclass(inner) and issubclass(inner, BaseModel)
                else []
            ),
        ]
    return keys


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    """`churn NAME` in the README, in both directions."""
    groups = {str(group.name): group.typer_instance for group in app.registered_groups}
    there = {
        c.name or c.callback.__name__ for c in app.registered_commands if c.callback
    } | set(groups)
    assert set(re.findall(r"(?:`|uv run )churn ([a-z]+)", text())) == there
    for name, group in groups.items():
        assert group is not None
        commands = {
            c.name or c.callback.__name__
            for c in group.registered_commands
            if c.callback
        }
        assert set(re.findall(rf"`churn {name} ([a-z]+)", text())) == commands


def test_notebooks_and_their_parameters_are_documented() -> None:
    """Each notebook is in the README's table with all its parameters, and no others."""
    from churn.report import runner

    for path in sorted((HOME / "notebooks").glob("*.ipynb")):
        row = next(
            line for line in text().splitlines() if line.startswith(f"| `{path.stem}`")
        )
        named = set(re.findall(r"`(\w+)`", row)) - {path.stem}
        assert named == set(runner.parameters(path)) - {"study", "run_id"}, path.stem


def test_the_tree_names_every_module_and_nothing_else() -> None:
    """Each module of the package stands in the annotated tree, and each name there
    exists.
    """
    tree = text().split("<!-- tree -->")[1].split("<!-- end tree -->")[0]
    modules = {f.name for f in (HOME / "churn").glob("[a-z]*.py")} | {
        "sources/",
        "braze/",
        "sandbox/",
    }
    assert modules <= set(re.findall(r"[\w.]+(?:\.py|/)", tree))
    for name in re.findall(r"^\s{2}(\w+\.py|\w+/)", tree, re.MULTILINE):
        assert (HOME / "churn" / name).exists() or (HOME / "tests" / name).exists(), (
            name
        )


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_links_and_pictures_lead_somewhere(guide: Path) -> None:
    """Relative links in every guide point at files that are there."""
    page = guide.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page):
        assert (guide.parent / target).exists(), target


def fenced(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", text(), re.DOTALL)


def test_scheduler_examples_parse() -> None:
    """The cron line has five fields and a command, the systemd unit its sections, the
    Airflow file is Python.
    """
    (cron,) = fenced("cron")
    lines = [
        line for line in cron.splitlines() if line and not re.match(r"#|\w+=", line)
    ]
    assert all(re.match(r"([\d*/,-]+\s+){5}\S+", line) for line in lines)
    units = configparser.ConfigParser(strict=False)
    units.optionxform = str  # type: ignore[assignment]
    units.read_string("\n".join(fenced("ini")))
    assert {"Unit", "Service", "Timer"} <= set(units.sections())
    (airflow,) = fenced("python")
    assert "BashOperator" in ast.dump(ast.parse(airflow))


def test_environment_yml_agrees_with_pyproject() -> None:
    """The same packages with the same bounds on both roads, and the same least
    Python.
    """
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    bounds = dict(re.match(r"([\w-]+)(?:\[\w+\])?(.*)", d).groups() for d in wanted)  # type: ignore[union-attr]
    listed = yaml.safe_load((HOME / "environment.yml").read_text(encoding="utf-8"))[
        "dependencies"
    ]
    conda = dict(
        entry.split(" ", 1)
        for entry in listed
        if isinstance(entry, str) and " " in entry
    )
    assert conda.pop("python") == project["project"]["requires-python"]
    assert conda == {name: bounds[name] for name in conda}
    assert {"pip": ["-e ."]} in listed


def test_the_dependency_table_names_every_dependency() -> None:
    """Each direct dependency has its reason in the README."""
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    section = text().split("## Dependencies")[1].split("\n## ")[0]
    for entry in project["dependencies"]:
        name = re.split(r"[^\w-]", entry)[0]
        assert re.search(rf"\b{name}\b", section), name


def test_every_module_says_what_it_is() -> None:
    """Each module of the package has a docstring."""
    for file in (HOME / "churn").rglob("*.py"):
        name = ".".join(file.relative_to(HOME).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        assert importlib.import_module(name).__doc__, name


if __name__ == "__main__":
    for guide in GUIDES:
        content = guide.read_text(encoding="utf-8")
        guide.write_text(filled_in(content), encoding="utf-8")
