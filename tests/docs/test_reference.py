"""What must be documented is: keys, commands, parameters, variables and modules."""

import importlib
import inspect
import re
import tomllib
from importlib.metadata import distribution

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel
from sklearn.ensemble import HistGradientBoostingClassifier

import churn
from churn.report import parameters
from churn.scoring import gate
from churn.settings import Settings, parse
from churn.store import Store

from .generated import OWN_PARAMETERS
from .pages import HOME, commands, options, text


def test_every_key_of_the_study_is_in_churn_toml_with_its_default() -> None:
    """Uncommented, churn.toml has every key; as it stands, it is the default study."""
    raw = (HOME / "churn.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?(\w+) = ", raw, re.MULTILINE))
    tables = set(re.findall(r"^(?:# )?\[+(?:\w+\.)?(\w+)\]+", raw, re.MULTILINE))
    assert named | tables == set(_keys(Settings))
    shown = parse(tomllib.loads(raw), HOME)
    extracts = [{"source": "appsflyer", "path": "data/raw/appsflyer"}]
    assert shown == parse({"extracts": extracts}, HOME)


def _keys(part: type[BaseModel]) -> list[str]:
    keys = []
    for name, field in part.model_fields.items():
        keys.append(name)
        inner = getattr(field.annotation, "__args__", (field.annotation,))[0]
        if inspect.isclass(inner) and issubclass(inner, BaseModel):
            keys += _keys(inner)
    return keys


def test_every_command_is_documented_with_options_that_exist() -> None:
    """One row per command in churn/README.md, and no row without one."""
    rows = {}
    for line in text("churn/README.md").splitlines():
        if called := re.match(r"\| `churn ([a-z-]+(?: [a-z]+)?)", line):
            rows[called.group(1)] = line
    known = commands()
    assert set(rows) == set(known)
    for name, row in rows.items():
        assert set(re.findall(r"(?<=`)--[a-z-]+", row)) <= options(known[name]), name


def test_every_notebook_is_in_the_table_of_questions() -> None:
    """A row per notebook, in the order in which they are run."""
    rows = re.findall(r"^\| `(\d_\w+)` \| [^`|]+\|$", text("notebooks/README.md"), re.M)
    stems = [path.stem for path in sorted((HOME / "notebooks").glob("*.ipynb"))]
    assert rows == stems


def test_every_notebook_has_a_study() -> None:
    """What the page says of parameters that are set by `churn run` is so."""
    for path in sorted((HOME / "notebooks").glob("*.ipynb")):
        own = OWN_PARAMETERS & set(parameters.of_notebook(path))
        expected = OWN_PARAMETERS if path.stem == "5_export" else {"study"}
        assert own == expected, path.stem


def test_every_environment_variable_is_documented() -> None:
    """Each CHURN_… that the package reads has a row in churn/README.md."""
    read = set()
    for file in (HOME / "churn").rglob("*.py"):
        read |= set(re.findall(r"\bCHURN_[A-Z_]+\b", file.read_text(encoding="utf-8")))
    rows = re.findall(r"^\| `(CHURN_[A-Z_]+)`", text("churn/README.md"), re.M)
    assert set(rows) == read


def test_every_gate_and_limit_is_documented(filled: Store) -> None:
    """The gates that a scoring runs are the rows of the delivery guide's table."""
    study = churn.Study(filled.settings.folder / "churn.toml", filled.settings)
    study.train(model=HistGradientBoostingClassifier(max_iter=2)).save()
    findings = study.score().findings
    section = text("churn/braze/README.md").split("### Gates and limits")[1]
    table, after = section.split("| gate |")[1].split("\n\n", 1)
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == set(findings["gate"])
    for limit in gate.LIMITS:
        assert f"`{limit}`" in after


def test_environment_yml_agrees_with_pyproject() -> None:
    """The same packages with the same bounds on both roads, and the same least
    Python.
    """
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    bounds = dict(re.match(r"([\w-]+)(?:\[\w+\])?(.*)", d).groups() for d in wanted)  # type: ignore[union-attr]
    content = (HOME / "environment.yml").read_text(encoding="utf-8")
    listed = yaml.safe_load(content)["dependencies"]
    entries = [e for e in listed if isinstance(e, str) and " " in e]
    conda = dict(entry.split(" ", 1) for entry in entries)
    assert conda.pop("python") == project["project"]["requires-python"]
    assert conda == {name: bounds[name] for name in conda}
    assert {"pip": ["-e ."]} in listed


def test_every_package_that_is_installed_has_a_stated_version() -> None:
    """Otherwise an installation for production would get whatever is newest then."""
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
    entries = project["tool"]["uv"]["constraint-dependencies"]
    stated = {re.split("[ =]", entry, maxsplit=1)[0] for entry in entries}
    seen = set()
    waiting = [project["project"]["name"]]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        for requirement in map(Requirement, distribution(name).requires or ()):
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    assert len(seen) > 100
    assert seen - stated == {project["project"]["name"]}


def test_libraries_are_no_older_than_their_last_known_hole() -> None:
    """Escaped names in tables; locks that follow no link; requests that unpack to no
    more than they may; types that skops checks.
    """
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
    entries = project["project"]["dependencies"]
    stated = dict(re.match(r"([\w-]+)>=([\d.]+)", e).groups() for e in entries)  # type: ignore[union-attr]
    least = {
        "great-tables": "1.1",
        "filelock": "3.20.3",
        "aiohttp": "3.13.3",
        "jinja2": "3.1.6",
        "skops": "0.13",
    }
    for name, version in least.items():
        parts = [[int(n) for n in v.split(".")] for v in (stated[name], version)]
        assert parts[0] >= parts[1], name


def test_every_module_says_what_it_is() -> None:
    """Each module of the package has a docstring."""
    for file in (HOME / "churn").rglob("*.py"):
        path = file.relative_to(HOME).with_suffix("")
        name = ".".join(path.parts).removesuffix(".__init__")
        if not name.endswith("__main__"):
            assert importlib.import_module(name).__doc__, name
