"""Figures of the quality table: AUC, log loss, calibration, and paired differences.

``wide`` everywhere has user_id, cutoff, churned and a column of probabilities per
model, the first of them the default's. AUC is taken within each test cutoff, as the
evaluation report does. The pooled AUC stands beside it.
"""

import numpy as np
import polars as pl

from churn.stats.probability import calibration_error, noise_floor
from churn.stats.ranking import auc_of_weights, auc_within

KEY = ("user_id", "cutoff", "churned")
OURS = "ours"
MARGIN = 0.005
"""Largest loss against the best peer that counts as being as good."""

CLIP = 1e-6
"""Distance that probabilities keep from 0 and 1; BG/NBD is certain of some users."""


def weights(wide: pl.DataFrame, n_resamples: int, seed: int) -> np.ndarray:
    """Weights of the rows under resamples of users, shape (1 + n_resamples, rows).

    The first row is all ones; in the others all rows of a user count together.
    """
    user = wide["user_id"].rank("dense").to_numpy().astype(int) - 1
    n_users = int(user.max()) + 1
    rng = np.random.default_rng(seed)
    rows = [np.ones(len(user))]
    for _ in range(n_resamples):
        drawn = rng.integers(0, n_users, n_users)
        rows.append(np.bincount(drawn, minlength=n_users)[user])
    return np.array(rows, dtype=np.float32)


def losses(churned: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Log loss of each row."""
    p = np.clip(probability, CLIP, 1 - CLIP)
    return -np.log(np.where(churned, p, 1 - p))


def table(wide: pl.DataFrame, n_resamples: int = 500, seed: int = 0) -> pl.DataFrame:
    """One row per model: its figures, and the default's less its own.

    Differences (d_auc, d_log_loss) have 95 % intervals; a negative difference of log
    loss means that the default is better.
    """
    wide = wide.sort("cutoff", "user_id")
    weight = weights(wide, n_resamples, seed)
    y = wide["churned"].to_numpy()
    cutoff = wide["cutoff"].to_numpy()
    names = [name for name in wide.columns if name not in KEY]
    aucs = {}
    log_losses = {}
    for name in names:
        p = wide[name].to_numpy()
        lost = losses(y, p)
        aucs[name] = auc_within(y, p, cutoff, weight)
        log_losses[name] = weight @ lost / weight.sum(axis=1)
    rows = []
    for name in names:
        p = wide[name].to_numpy()
        rows.append(
            {
                "model": name,
                "auc": float(aucs[name][0]),
                "auc_pooled": float(auc_of_weights(y, p)(weight[:1])[0]),
                "log_loss": float(log_losses[name][0]),
                "calibration": calibration_error(y, p) - noise_floor(p),
                **_difference("d_auc", aucs[OURS] - aucs[name]),
                **_difference("d_log_loss", log_losses[OURS] - log_losses[name]),
            }
        )
    return pl.DataFrame(rows)


def _difference(name: str, draws: np.ndarray) -> dict[str, float]:
    low, high = np.nanquantile(draws[1:], [0.025, 0.975])
    value = float(draws[0])
    return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}


def verdicts(figures: pl.DataFrame) -> list[str]:
    """A sentence on each aim: log loss and AUC against the best peer, and log loss
    against the recency rule.
    """
    peers = figures.filter(pl.col("model") != OURS)
    sentences = [_verdict(peers, "log_loss", 1), _verdict(peers, "auc", -1)]
    recency = peers.filter(pl.col("model") == "recency")["d_log_loss"][0]
    within = "within" if recency <= MARGIN else "NOT within"
    sentences.append(
        f"log_loss: the default less recency {recency:+.4f}: {within} {MARGIN:+}"
    )
    return sentences


def _verdict(peers: pl.DataFrame, figure: str, sign: int) -> str:
    """The default against the best peer; ``sign`` is 1 where lower is better."""
    best = peers.sort(sign * pl.col(figure)).row(0, named=True)
    low, high = best[f"d_{figure}_low"], best[f"d_{figure}_high"]
    worst = max(sign * low, sign * high)
    verdict = "NOT non-inferior"
    if worst < 0:
        verdict = "strictly better"
    elif worst <= MARGIN:
        verdict = "non-inferior"
    difference = f"{best[f'd_{figure}']:+.4f} ({low:+.4f}, {high:+.4f})"
    return (
        f"{figure}: best peer {best['model']} {best[figure]:.4f}, "
        f"the default less that {difference}: {verdict}"
    )
