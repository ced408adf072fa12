"""Pages that are made of a template alone, without a notebook."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import churn

TEMPLATES = Path(__file__).with_name("templates") / "report"


def page(
    template: str,
    **content: Any,
) -> str:
    """The HTML of a template of this package, which loads nothing and escapes all.

    Beside ``content`` it gets the style, this version and the present time; the filter
    ``markdown`` shows Markdown without HTML.
    """
    # Imported here: only the end of a run needs them.
    import jinja2
    from nbconvert.filters import markdown2html

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
    )
    environment.filters["markdown"] = lambda text: markdown2html(_plain(text))
    style = (TEMPLATES / "static" / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        **content,
        style=style,
        version=churn.__version__,
        made=f"{datetime.now(UTC):%d %b %Y, %H:%M} UTC",
    )


def _plain(markdown: str) -> str:
    """Markdown without HTML: a name from the data stays a text."""
    return markdown.replace("<", "&lt;")
