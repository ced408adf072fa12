"""How one file is to be read: found out by reading its first rows in every way."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from churn.errors import InputError
from churn.events import sources
from churn.events.sources import csvtext, formats, jsonlines, postbacks, table, unpack
from churn.guessing import columns
from churn.settings import Csv, Extract

ROWS = 20_000
"""Number of rows of a file that are read."""

ENCODINGS = ("utf-8", "cp1252")
"""Encodings of text files, the likelier first; marks of UTF-16 are seen by readers."""

VENDORS = [source for source in sources.READERS if source != "table"]


@dataclass(frozen=True)
class Guess:
    """How a file is to be read, and the first events that were read so.

    ``extract``: with the file's own path. ``rows``: canonical events; those with a
    ``fault`` would be quarantined.
    """

    extract: Extract
    rows: pl.DataFrame

    @property
    def is_whole(self) -> bool:
        """Whether the file holds no further rows."""
        return self.rows.height < ROWS

    @property
    def n_kept(self) -> int:
        """The number of rows without a fault."""
        return int(self.rows["fault"].is_null().sum())


def guess(path: Path) -> Guess | str:
    """How to read a file, by which most of its first rows are kept; else why not.

    A file that a vendor's reader accepts is the vendor's, as no table has its columns.
    """
    if path.stat().st_size == 0:
        return "it is empty (0 bytes)"
    form = formats.of_name(path.name)
    reasons: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for encoding in ENCODINGS:
            options = list(_of_vendors(path, form, encoding))
            made, reasons = _read(options, Path(scratch))
            if not made and form in (*table.FORMS, formats.UNSTATED):
                made, reasons = _read_as_table(path, encoding, Path(scratch))
            if made:
                return max(made, key=lambda each: each.n_kept)
            if not any("it is not utf-8" in reason for reason in reasons):
                break
    why_not = reasons[-1].replace(f"{path.parent}{os.sep}", "")
    return why_not.removeprefix(path.name).lstrip(": ")


def _read_as_table(
    path: Path,
    encoding: str,
    scratch: Path,
) -> tuple[list[Guess], list[str]]:
    """The file read as a table, if its columns are found, and why it isn't."""
    found = _as_table(path, encoding, scratch)
    return ([], [found]) if isinstance(found, str) else _read([found], scratch)


def _of_vendors(
    path: Path,
    form: str,
    encoding: str,
) -> Iterator[Extract]:
    """An extract for every vendor that exports files of such a format."""
    named = postbacks.source_of(path) if form == postbacks.FORM else None
    for source in [named] if named in VENDORS else VENDORS:
        if form == formats.UNSTATED or form in sources.FORMS[source]:
            given = {"source": source, "path": str(path), "encoding": encoding}
            yield Extract.model_validate(given)


def _read(
    options: list[Extract],
    scratch: Path,
) -> tuple[list[Guess], list[str]]:
    """Those ways of reading by which rows are kept, and why the others fail."""
    made: list[Guess] = []
    faults: list[str] = []
    for extract in options:
        path = Path(extract.path)
        try:
            events = sources.read(path, extract, scratch)
            rows = events.head(ROWS).collect()
        except InputError as error:
            faults.append(str(error))
        except sources.UNREADABLE as error:
            faults.append(str(sources.unreadable(path, extract, error)))
        else:
            one = Guess(extract, rows)
            # A vendor's report without rows is recognised by its columns.
            if one.n_kept or (rows.is_empty() and extract.source != "table"):
                made.append(one)
            else:
                faults.append(_why_none(one))
    return made, faults


def _why_none(one: Guess) -> str:
    reasons = one.rows["fault"].drop_nulls().unique().sort().to_list()
    source = one.extract.source
    if one.rows.is_empty():
        return f"{one.extract.path} holds no rows"
    return f"{one.extract.path}: no row can be kept as {source}: {', '.join(reasons)}"


def _as_table(
    path: Path,
    encoding: str,
    scratch: Path,
) -> Extract | str:
    """An extract for a table with its columns, else which column is missing."""
    plain = Extract(source="table", path=str(path), encoding=encoding)
    own_scratch = Path(tempfile.mkdtemp(dir=scratch))
    try:
        sample = _sample(path, plain, own_scratch)
    except InputError as error:
        return str(error).replace(f"{own_scratch}{os.sep}", os.sep)
    except sources.UNREADABLE as error:
        return str(sources.unreadable(path, plain, error))
    found = columns.mapped(sample)
    missing = [field for field in columns.NEEDED if field not in found]
    if missing:
        shown = ", ".join(itertools.islice(sample, 12))
        more = f" and {len(sample) - 12} more" if len(sample) > 12 else ""
        return (
            f"{path}: no column for {' and '.join(missing)} among {shown}{more}; name "
            "it under `columns` of the extract, or write such a column"
        )
    own = {field: column for field, column in found.items() if field != column}
    return plain.model_copy(update={"columns": own})


def _sample(
    path: Path,
    extract: Extract,
    scratch: Path,
) -> dict[str, list[str]]:
    """The first filled values of every column of a table."""
    part = unpack.parts(path, extract, scratch, table.FORMS)[0]
    form = unpack.form(part)
    if form == "parquet":
        rows = pl.scan_parquet(part, glob=False).head(ROWS).collect()
    elif form == "json":
        lines = jsonlines.read([part], scratch).head(ROWS).collect()["line"]
        rows = pl.read_ndjson("\n".join(lines).encode(), infer_schema_length=None)
    else:
        csvtext.check(part)
        return _of_csv(csvtext.layout(part, Csv()))
    return {name: _texts(rows[name]) for name in rows.columns}


def _of_csv(layout: csvtext.Layout) -> dict[str, list[str]]:
    rows = [row for row in layout.sample if len(row) == len(layout.header)]
    return {
        name: [row[number] for row in rows if row[number].strip()]
        for number, name in enumerate(layout.header)
        if name.strip()
    }


def _texts(values: pl.Series) -> list[str]:
    """A column's filled values as texts; none for columns that hold no single values."""
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        return []
    return values.drop_nulls().cast(pl.String).to_list()
