"""The model card: a description of a stored model for people who open its folder."""

from typing import Any

from churn.model import own
from churn.model.fitting import Model


def text(
    model: Model,
    metrics: dict[str, Any],
    extra_types: list[str],
) -> str:
    """The card in Markdown.

    ``metrics``: log losses in the validation folds. ``extra_types``: the types that
    ``model.trusted_types`` must name before the model can be loaded.
    """
    rows = "\n".join(f"| {name} | {value} |" for name, value in metrics.items())
    fix = model.correction
    return f"""# Model {model.model_id}

Probability that a user active before the cutoff is not active in the horizon after it.
Windows in days: {model.windows}.

- {_origin(model)}
- {_trust(extra_types)}
- Correction: **{fix.kind}**, log-odds times {fix.slope:.2f} and {fix.intercept:+.2f}.
- Trained on {model.n_rows} rows of {len(model.cutoffs)} cutoffs,
  {min(model.cutoffs)} to {max(model.cutoffs)}; {model.churn_rate:.1%} of them churned.{_gaps(model)}
- For use only with the study it was trained on. It ranks users by risk; it doesn't
  know which of them can be persuaded to stay.
- Uses {len(model.features)} features: {", ".join(model.features)}.

| in the validation folds | |
|---|---|
{rows}
"""


def _gaps(model: Model) -> str:
    """What missing days have cost, on a line of its own; empty if nothing."""
    return f"\n- Missing data: {model.gaps}." if model.gaps else ""


def _origin(model: Model) -> str:
    """Which estimators give the probability."""
    if model.candidate == own.NAME:
        return (
            f"A model supplied by the user: `{' '.join(repr(model.pipeline).split())}`."
        )
    members = [f"{name} ({share:.0%})" for name, share in model.recipe.weights.items()]
    return f"Weighted mean of {', '.join(members)}."


def _trust(extra_types: list[str]) -> str:
    """Which types a study must trust to load the model."""
    if not extra_types:
        return "Loading needs no entry in the study's `model.trusted_types`."
    names = ", ".join(f"`{name}`" for name in extra_types)
    return (
        f"Loading needs these entries in the study's `model.trusted_types`: {names}. "
        "The code of a trusted type runs when the model is loaded."
    )
