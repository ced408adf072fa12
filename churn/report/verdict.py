"""The verdict of a step: a word, a few sentences and what to do, for busy readers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from churn.report.runs import plain

VERDICT_MIME = "application/vnd.churn.verdict+json"
"""Type of the notebook output that a page puts at its top."""

Tone = Literal["good", "caution", "bad"]


@dataclass(frozen=True)
class Verdict:
    """What a step found, before the evidence for it.

    - ``word``: the result in a word or two, such as "Ready".
    - ``tone``: whether a reader may go on (good), should read first (caution) or must
      not use the result (bad).
    - ``sentences``: Markdown; what was found, with its numbers, and how sure it is.
    - ``action``: what to do next, in one Markdown sentence.
    - ``data_until``: the last complete day of data behind it; null without data.

    A notebook shows it as Markdown, and its page at the top.
    """

    word: str
    tone: Tone
    sentences: tuple[str, ...]
    action: str
    data_until: date | None

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON can hold them: lists for tuples, ISO texts for dates."""
        content: dict[str, Any] = plain(vars(self))
        return content

    def _repr_mimebundle_(
        self,
        include: Any = None,
        exclude: Any = None,
    ) -> dict[str, Any]:
        """How a notebook shows it; the arguments are IPython's and not needed."""
        return {
            "text/markdown": str(self),
            "text/plain": str(self),
            VERDICT_MIME: self.as_json(),
        }

    def __str__(self) -> str:
        age = f" (data until {self.data_until})" if self.data_until else ""
        parts = [f"**{self.word}**{age}", *self.sentences, f"**Next:** {self.action}"]
        return "\n\n".join(parts)
