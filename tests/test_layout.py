"""House rules that no linter knows: who imports what, sizes, secrets, the stable
hash.
"""

import ast
import io
import os
import re
import statistics
import subprocess
import sys
import tokenize
from pathlib import Path

import polars as pl
import pytest

from churn.hashing import bucket_of, digest, stable_hash

HOME = Path(__file__).resolve().parents[1]
# As the reference implementations of xxHash64 and BLAKE3 give them.
GOLDEN = [3050230721932357699, 18365110790715023673, 135170084992022845, None]
DIGESTS = [
    "be13a2049df738d0bb379b38e7baf5b3",
    "35fa46e99000a7fe3793b18702ef90f9",
    "9b7670f4a74372fd062c05a446b04b9b",
    None,
]
MODULES = sorted((HOME / "churn").rglob("*.py"))
TOKENS = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
ONLY_IN = {
    "httpx": {"braze.client"},
    "httpx_aiohttp": {"braze.client"},
    "stamina": {"braze.sending"},
    "sqlalchemy": {"braze.ledger"},
    "papermill": {"report"},
    "nbformat": {"report"},
    "nbconvert": {"report"},
    "altair": {"report"},
    "great_tables": {"report"},
    "vl_convert": {"report"},
    "skops": {"model.storage"},
    "fastavro": {"events.sources"},
    "cramjam": {"events.sources"},
    "deltalake": {"store.delta"},
    "obstore": {"store.objects"},
    "polars_hash": {"hashing"},
    "scipy": {
        "events.identity",
        "model",
        "evaluation",
        "stats",
        "simulate",
        "cli.night",
        "monitoring.evidence",
    },
    "filelock": {"store.locks", "braze.ledger.locking"},
    "IPython": {"report"},
    "psutil": {"report.manifests", "settings.cluster"},
    "aiohttp": {"sandbox", "braze.client", "receive"},
    "prometheus_client": {"receive"},
    "jinja2": {"sandbox", "report"},
    "pydantic": {"settings"},
    "typer": {"cli", "demo"},
    "pickle": set(),
    "joblib": {"cluster", "settings.cluster"},
    "distributed": {"cluster"},
    "pyspark": {"cluster"},
    "pandas": set(),
}
"""Outside libraries, and the modules or packages of churn that may import them."""


def imports(file: Path) -> set[str]:
    """Top-level names of all that a module imports when it runs, not for types only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(ast.walk(ast.Module([n for n in tree.body if not for_types(n)], [])))
    names = {
        alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names
    }
    names |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


def for_types(node: ast.stmt) -> bool:
    """Whether a statement is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_openmp_is_told_not_to_spin_before_it_is_loaded() -> None:
    """Importing the package says so, scikit-learn is not there yet; who has set it
    otherwise keeps that.
    """
    code = "import sys, os, churn; print(os.environ['GOMP_SPINCOUNT'], 'sklearn' in sys.modules)"
    bare = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=bare | more,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for more in ({}, {"GOMP_SPINCOUNT": "7"})
    ]
    assert said == ["3000 False\n", "7 False\n"]


@pytest.mark.parametrize("library", list(ONLY_IN))
def test_each_outside_library_has_one_door(library: str) -> None:
    """A library is imported in its own module or package only."""
    users = {name_of(f) for f in MODULES if library in imports(f)}
    doors = ONLY_IN[library]
    strangers = {
        name
        for name in users
        if not any(f"{name}.".startswith(f"{door}.") for door in doors)
    }
    assert not strangers


def name_of(file: Path) -> str:
    """The module of a file, such as "braze.client"."""
    return ".".join(file.relative_to(HOME / "churn").with_suffix("").parts)


def test_the_sandbox_knows_nothing_of_the_rest() -> None:
    """It imports only itself, the standard library, aiohttp and Jinja2."""
    for file in (HOME / "churn/sandbox").glob("*.py"):
        names = re.findall(r"from (churn[\w.]*)", file.read_text(encoding="utf-8"))
        assert all(name.startswith("churn.sandbox") for name in names)


def bodies(tree: ast.Module) -> list[int]:
    """Lines of every function's body, its docstring apart."""
    lengths = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) and node.body[1:] else 0]
            lengths.append((node.end_lineno or 0) - first.lineno + 1)
    return lengths


def test_functions_are_short() -> None:
    """Nine bodies in ten have at most 30 lines, none has over 50."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in MODULES]
    lengths = [length for tree in trees for length in bodies(tree)]
    assert statistics.quantiles(lengths, n=10)[-1] <= 30
    assert max(lengths) <= 50


def test_modules_hold_one_idea() -> None:
    """At most 300 lines, or the docstring says "over 300 lines" and why."""
    for file in MODULES:
        text = file.read_text(encoding="utf-8")
        reason = ast.get_docstring(ast.parse(text)) or ""
        assert len(text.splitlines()) <= 300 or "over 300 lines" in reason, file


def test_code_has_room() -> None:
    """At most 8 tokens a code line over the whole package, docstrings apart."""
    n_tokens = n_lines = 0
    for file in MODULES:
        text = file.read_text(encoding="utf-8")
        docstrings = docstring_lines(ast.parse(text))
        rows = [
            row
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type in TOKENS and token.start[0] not in docstrings
            for row in (range(token.start[0], token.end[0] + 1),)
        ]
        n_tokens += len(rows)
        n_lines += len({line for row in rows for line in row})
    assert n_tokens / n_lines <= 8


def docstring_lines(tree: ast.Module) -> set[int]:
    """Line numbers of texts that stand alone: docstrings, and notes on constants."""
    texts = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return {n for t in texts for n in range(t.lineno, (t.end_lineno or 0) + 1)}


def test_committed_files_name_no_registry_and_no_machine() -> None:
    """No index address, wheel address or home folder in any tracked file."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=HOME, capture_output=True, text=True, check=True
    ).stdout.split()
    pattern = re.compile(r"index-url|/simple/|\.whl\b|/root/|/home/\w+/|registry = ")
    for name in listed:
        file = HOME / name
        if (
            file.suffix not in {".png"}
            and file.exists()
            and name != "tests/test_layout.py"
        ):
            assert not pattern.search(file.read_text(encoding="utf-8")), name


def test_the_stable_hash_never_changes() -> None:
    """Golden values: the bucket of a user is the same in every version and on every
    machine.
    """
    ids = pl.DataFrame({"id": ["cust-100000", "0001007", "ü", None]})
    assert ids.select(stable_hash("id"))["id"].to_list() == GOLDEN
    assert ids.select(bucket_of("id", 16))["id"].to_list() == [
        g % 16 if g is not None else None for g in GOLDEN
    ]
    assert ids.select(digest(pl.col("id")))["id"].to_list() == DIGESTS
