"""House rules that no linter knows: who imports what, sizes, secrets, the stable
hash.
"""

import ast
import os
import re
import statistics
import subprocess
import sys
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
    "obstore": {"events.sources"},
    "polars_hash": {"hashing"},
    "scipy": {"events.identity", "model", "evaluation", "stats", "simulate"},
    "filelock": {"events.writing", "braze.ledger.database"},
    "aiohttp": {"sandbox", "braze.client"},
    "jinja2": {"sandbox", "report"},
    "pydantic": {"settings"},
    "typer": {"cli", "demo"},
    "pickle": set(),
    "joblib": set(),
    "pandas": set(),
}
"""Outside libraries, and the modules or packages of churn that may import them."""


def imports(file: Path) -> set[str]:
    """Top-level names of all that a module imports."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = {
        alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names
    }
    names |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


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


def test_functions_are_short() -> None:
    """Median function at most 8 lines, nine in ten at most 30; no module over 400."""
    lengths = [
        n.end_lineno
        - n.body[0].lineno
        + 1
        - bool(ast.get_docstring(n)) * (n.body[0].end_lineno - n.body[0].lineno + 1)
        for f in MODULES
        for n in ast.walk(ast.parse(f.read_text(encoding="utf-8")))
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        and n.end_lineno
        and n.body[0].end_lineno
    ]
    assert statistics.median(lengths) <= 8
    assert statistics.quantiles(lengths, n=10)[-1] <= 30
    assert max(len(f.read_text(encoding="utf-8").splitlines()) for f in MODULES) <= 420


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
