"""The words of the reports, each in a sentence, and their marks on a page."""

import html
import re

WORDS = {
    "AUC": "How often somebody who left is ranked above somebody who stayed: "
    "0.5 is chance, 1 is always.",
    "backtest": "A forecast made for dates in the past with what was known by then, "
    "and compared with what happened.",
    "base rate": "The share of all users that leaves.",
    "blend": "The model: the weighted mean of several simpler ones.",
    "Brier score": "The mean squared distance between a probability and what happened; "
    "lower is better.",
    "calibration": "Whether of users given 30 % three in ten leave, and so on.",
    "ceiling skill": "How much of what could be known the model knows; only a simulated "
    "app can tell.",
    "cohort": "Users who were first seen in the same month.",
    "cutoff": "The date at whose beginning a forecast is made; nothing later is used.",
    "data point": "One attribute written to one profile, by which Braze charges.",
    "dry run": "An export that does everything but send.",
    "event log": "All events of the extracts: checked, in one time zone, each once.",
    "extract": "Files of events as an analytics tool exported them.",
    "gate": "A rule that data and scores must keep before anything is stored or sent.",
    "holdout": "Users who are scored but get no message, so that the effect of messages "
    "can be measured.",
    "horizon": "The days after the cutoff in which a user must come back to have stayed.",
    "hysteresis": "A margin around a segment's boundary in which users keep the segment "
    "they had.",
    "lead time": "Days left free between a forecast and the horizon, for acting on it.",
    "ledger": "The record of what Braze has acknowledged.",
    "log loss": "How surprised the forecast was by what happened; lower is better.",
    "log-odds": "The logarithm of leavers over stayers, on which a model adds up.",
    "observation window": "The days before the cutoff that the model looks at.",
    "pseudonym": "A made-up name for a user, the same in every report of a study.",
    "quarantined": "Set aside because a row can't be read; it comes in once that is mended.",
    "recency": "The simple rule to compare with: who was away longest leaves first.",
    "segment": "A named band of risk that is written to Braze.",
    "snapshot": "One row per active user at one cutoff, with what was known by then.",
    "test cutoff": "A cutoff in the past at which the forecast is compared with what "
    "happened.",
    "threshold": "The probability at which a segment begins.",
}
"""Every word that a page explains, with its meaning in a sentence."""

CLOSED = ("a", "code", "h1", "h2", "h3", "h4", "pre", "button")
"""Elements whose words are not marked."""

_PARTS = re.compile(r"(<[^>]*>)")
_TERMS = sorted(WORDS, key=len, reverse=True)
_FOUND = re.compile(
    rf"(?<![\w.-])({'|'.join(re.escape(term) for term in _TERMS)})(s?)(?![\w-]|\.\w)",
    re.I,
)
_BY_LOWER = {term.lower(): term for term in WORDS}


class Marks:
    """The words that a page has explained so far: each is marked where it comes first."""

    def __init__(self) -> None:
        self.used: list[str] = []

    def mark(self, rendered: str) -> str:
        """HTML of sentences, with a button and a meaning at the first of each word."""
        parts = _PARTS.split(rendered)
        closed = 0
        for i, part in enumerate(parts):
            tag = re.match(r"<(/?)(\w+)", part)
            if tag and tag[2].lower() in CLOSED:
                closed += -1 if tag[1] else 1
            elif not tag and not closed:
                parts[i] = _FOUND.sub(self._explained, part)
        return "".join(parts)

    def words(self) -> dict[str, str]:
        """The words marked so far in the order of the alphabet, with their meanings."""
        return {term: WORDS[term] for term in sorted(self.used, key=str.lower)}

    def _explained(self, found: re.Match[str]) -> str:
        term = _BY_LOWER[found[1].lower()]
        if term in self.used:
            return found[0]
        self.used.append(term)
        name = f"word-{len(self.used)}"
        return (
            f'<span class="word"><button type="button" aria-describedby="{name}">'
            f'{found[0]}</button><span role="tooltip" id="{name}">'
            f"{html.escape(WORDS[term])}</span></span>"
        )
