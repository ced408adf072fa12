"""The tables on README pages that are made from the code.

python -m tests.docs.generated     writes them into the pages
"""

import inspect
import re
from collections.abc import Callable

import dataframely as dy
import polars as pl

from churn import errors
from churn.features.catalogue import Plan, catalogue
from churn.report import parameters
from churn.store import schemas, score_schemas
from churn.store.layout import ADOPTED, BUCKETED, PERIODS
from churn.store.layout import TABLES as STORED

from .pages import HOME, NAMES, text

TYPES: dict[type[pl.DataType], str] = {
    pl.String: "text",
    pl.Date: "date",
    pl.Float64: "float64",
    pl.Int64: "int64",
}
OWN_PARAMETERS = {"study", "run_id"}  # set by `churn run` itself


def feature_table() -> str:
    """The catalogue; one row where a meaning has several windows: n_events_{w}d."""
    rows: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
    plan = Plan(90, vocabulary=("NAME",), properties=("PROPERTY",))
    for name, feature in catalogue(plan).items():
        stem, days = re.fullmatch(r"(.*?)(?:_(\d+)d)?", name).groups()  # type: ignore[union-attr]
        meaning = re.sub(rf"\b{days}\b", "w", feature.meaning, count=1)
        key = (f"{stem}_{{w}}d", feature.kind, meaning)
        rows.setdefault(key, []).append((days, name, feature.meaning))
    lines = ["| feature | w | kind | meaning |", "|---|---|---|---|"]
    for (pattern, kind, meaning), windows in rows.items():
        if len(windows) > 1:
            listed = ", ".join(days for days, *_ in windows)
            lines.append(f"| `{pattern}` | {listed} | {kind} | {meaning} |")
        else:
            _, name, exact = windows[0]
            lines.append(f"| `{name}` | – | {kind} | {exact} |")
    return "\n".join(lines)


def error_table() -> str:
    """Every exception with the first line of its docstring."""
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    ours = [kind for kind in classes if issubclass(kind, errors.ChurnError)]
    lines = ["| error | means |", "|---|---|"]
    for kind in sorted(ours, key=lambda kind: inspect.getsourcelines(kind)[1]):
        lines.append(f"| `{kind.__name__}` | {_summary(kind)} |")
    return "\n".join(lines)


def parameter_table() -> str:
    """Every parameter of every notebook with its default and meaning."""
    lines = ["| notebook | parameter | default | meaning |", "|---|---|---|---|"]
    for path in sorted((HOME / "notebooks").glob("*.ipynb")):
        for name, facts in parameters.of_notebook(path).items():
            if name in OWN_PARAMETERS:
                continue
            default = facts["default"].replace('"', "") or "–"
            lines.append(f"| `{path.stem}` | `{name}` | {default} | {facts['help']} |")
    return "\n".join(lines)


def store_table() -> str:
    """Every table of the store with its meaning and columns; ? marks nullable ones."""
    own = {adopted: table for table, adopted in ADOPTED.items()}
    lines = ["| table | divided by | holds | columns |", "|---|---|---|---|"]
    for name in STORED:
        parts = ["bucket"] * (name in BUCKETED) + ["quarter"] * (name in PERIODS)
        divided = ", ".join(parts) or "–"
        if name in own:
            meaning = "History of anonymous devices whose user became known later."
            columns = f"as `{own[name]}`"
        else:
            meaning = _summary(schemas.BY_TABLE[name])
            columns = _columns(schemas.BY_TABLE[name])
        lines.append(f"| `{name}` | {divided} | {meaning} | {columns} |")
    for name in ("scores", "findings"):
        schema = getattr(score_schemas, name.capitalize())
        lines.append(
            f"| `{name}/cutoff=…` | – | {_summary(schema)} | {_columns(schema)} |"
        )
    return "\n".join(lines)


def score_table() -> str:
    """The columns of the scores as other programs get them; ? marks nullable ones."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for name, column in score_schemas.ScoreTable.columns().items():
        kind = TYPES[type(column.dtype)]
        lines.append(
            f"| `{name}`{'?' * column.nullable} | {kind} | {column.description} |"
        )
    return "\n".join(lines)


def _summary(documented: type) -> str:
    return str(inspect.getdoc(documented)).splitlines()[0].replace("``", "`")


def _columns(schema: type[dy.Schema]) -> str:
    columns = schema.columns()
    return ", ".join(name + "?" * columns[name].nullable for name in columns)


TABLES: dict[str, Callable[[], str]] = {
    "features": feature_table,
    "errors": error_table,
    "parameters": parameter_table,
    "store tables": store_table,
    "score columns": score_table,
}


def places(table: str) -> list[str]:
    """The pages that have a generated table's markers."""
    return [name for name in NAMES if f"<!-- {table} -->" in text(name)]


def write() -> None:
    """Write every generated table into its page."""
    for table, make in TABLES.items():
        for name in places(table):
            before, rest = text(name).split(f"<!-- {table} -->", 1)
            after = rest.split(f"<!-- end {table} -->", 1)[1]
            block = f"<!-- {table} -->\n{make()}\n<!-- end {table} -->"
            page = f"{before}{block}{after}"
            (HOME / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write()
