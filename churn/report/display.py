"""How frames look in a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

MAX_ROWS = 200
"""Number of rows that a table shows."""

SMALL = 0.1
"""Share below which a percentage has a decimal."""

LABELS = {"n": "number"}
"""What a column is called where its name says too little."""


def setup() -> None:
    """Show frames as readable tables in this notebook; outside one, do nothing."""
    shell = notebook_shell()
    if shell:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type_by_name("polars.dataframe.frame", "DataFrame", table)


def notebook_shell() -> Any:
    """The shell of the notebook that this runs in; null outside a notebook.

    IPython is not imported for it, since a notebook has done so already.
    """
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def table(frame: pl.DataFrame) -> str:
    """A frame's first 200 rows as an HTML table for readers.

    Shares (``…_rate``, ``share…``, ``…share``) and probabilities are whole percentages,
    with one decimal below 10%; counts have thousands separators, other numbers three digits; booleans are yes and no, null and NaN are a
    dash. A note below says if rows were left out or there are none.
    """
    import polars as pl
    import polars.selectors as cs
    from great_tables import GT

    shares = cs.ends_with("_rate", "share", "probability") | cs.starts_with("share_")
    labels: dict[str, Any] = {name: label(name) for name in frame.columns}
    known = frame.head(MAX_ROWS).with_columns(cs.float().fill_nan(None))
    shown = (
        GT(known)
        .fmt_integer(columns=cs.integer())
        .fmt_tf(columns=cs.boolean(), tf_style="yes-no")
        .fmt_percent(columns=shares, decimals=0)
        .fmt_number(columns=cs.float() - shares, decimals=3)
        .sub_missing(missing_text="–")
        .cols_label(labels)
        .tab_options(
            table_margin_left="0px",
            table_font_size="14px",
            column_labels_font_weight="600",
        )
    )
    for name in cs.expand_selector(known, shares):
        is_small = pl.col(name).abs() < SMALL
        shown = shown.fmt_percent(columns=name, rows=is_small, decimals=1)
    if frame.is_empty():
        shown = shown.tab_source_note("none")
    if frame.height > MAX_ROWS:
        shown = shown.tab_source_note(f"the first {MAX_ROWS} of {frame.height:,} rows")
    return str(shown.as_raw_html())


def label(name: str) -> str:
    """What readers see above a column.

    >>> label("n_events"), label("churn_rate"), label("n")
    ('events', 'churn rate', 'number')
    """
    return LABELS.get(name, name.removeprefix("n_").replace("_", " "))
