"""Figures of the quality table: AUC, log loss and calibration error per model,
differences with paired intervals.

``wide`` everywhere has user_id, cutoff, churned and a column of probabilities per
model, the first of them ours. AUC is taken within each test cutoff and averaged,
weighted by rows as a log loss is: over pooled cutoffs it would also reward knowing
which period a row is from, which ranks nobody. The pooled one stands beside it.
"""

import numpy as np
import polars as pl

KEY = ("user_id", "cutoff", "churned")
OURS = "ours"
MARGIN = 0.005
CLIP = 1e-6  # BG/NBD is certain of some users
N_BINS = 10


def weights(wide: pl.DataFrame, n_resamples: int, seed: int) -> np.ndarray:
    """Shape (1 + n_resamples, rows): all ones, then how often each resample of users
    holds the row's user.
    """
    user = (
        wide.select(pl.col("user_id").rank("dense")).to_series().to_numpy().astype(int)
        - 1
    )
    n = int(user.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = [
        np.bincount(rng.integers(0, n, n), minlength=n)[user]
        for _ in range(n_resamples)
    ]
    return np.array([np.ones(len(user)), *drawn], dtype=np.float32)


def auc(weight: np.ndarray, churned: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Of every row of weights: the share of pairs of churner and stayer ranked right,
    ties half; NaN without pairs.

    >>> auc(np.ones((1, 4)), np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8])).tolist()
    [0.875]
    """
    order = np.argsort(probability, kind="stable")
    ordered, y, p = (
        weight[:, order].astype(np.float64),
        churned[order],
        probability[order],
    )
    starts = np.flatnonzero(np.r_[True, p[1:] != p[:-1]])
    up, down = (np.add.reduceat(ordered * part, starts, axis=1) for part in (y, 1 - y))
    right = (up * (down.cumsum(axis=1) - down / 2)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return right / (up.sum(axis=1) * down.sum(axis=1))


def auc_within(weight: np.ndarray, wide: pl.DataFrame, name: str) -> np.ndarray:
    """The mean of ``auc`` over the test cutoffs, weighted by their rows; cutoffs
    without pairs are left out.
    """
    y, p = wide["churned"].to_numpy().astype(int), wide[name].to_numpy()
    cutoff = wide["cutoff"].to_numpy()
    parts = [cutoff == c for c in np.unique(cutoff)]
    values = np.array([auc(weight[:, part], y[part], p[part]) for part in parts])
    sizes = np.where(
        np.isnan(values), 0, np.array([weight[:, part].sum(axis=1) for part in parts])
    )
    return (np.nan_to_num(values) * sizes).sum(axis=0) / sizes.sum(axis=0)


def losses(churned: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Log loss of each row."""
    p = np.clip(probability, CLIP, 1 - CLIP)
    return -np.log(np.where(churned, p, 1 - p))


def calibration(churned: np.ndarray, probability: np.ndarray, seed: int) -> float:
    """Calibration error over ten bins of equal size, less what right probabilities
    would show by chance.
    """
    bins = np.array_split(np.argsort(probability, kind="stable"), N_BINS)
    draws = np.random.default_rng(seed).random((200, len(probability))) < probability

    def error(outcomes: np.ndarray) -> np.ndarray:
        gap = [np.abs((outcomes[:, b] - probability[b]).sum(axis=1)) for b in bins]
        return np.sum(gap, axis=0) / len(probability)

    return float(error(churned[None].astype(float))[0] - error(draws).mean())


def table(wide: pl.DataFrame, n_resamples: int = 500, seed: int = 0) -> pl.DataFrame:
    """One row per model: its figures, and ours less its own with 95 % intervals
    (negative log loss: ours is better).
    """
    wide = wide.sort("cutoff", "user_id")
    weight, y = weights(wide, n_resamples, seed), wide["churned"].to_numpy()
    names = [name for name in wide.columns if name not in KEY]
    ranked = {name: auc_within(weight, wide, name) for name in names}
    loss = {
        name: weight @ losses(y, wide[name].to_numpy()) / weight.sum(axis=1)
        for name in names
    }
    rows = [
        {
            "model": name,
            "auc": float(ranked[name][0]),
            "auc_pooled": float(
                auc(weight[:1], y.astype(int), wide[name].to_numpy())[0]
            ),
            "log_loss": float(loss[name][0]),
            "calibration": calibration(y, wide[name].to_numpy(), seed),
            **_difference("d_auc", ranked[OURS] - ranked[name]),
            **_difference("d_log_loss", loss[OURS] - loss[name]),
        }
        for name in names
    ]
    return pl.DataFrame(rows)


def _difference(name: str, draws: np.ndarray) -> dict[str, float]:
    low, high = np.nanquantile(draws[1:], [0.025, 0.975])
    return {
        name: float(draws[0]),
        f"{name}_low": float(low),
        f"{name}_high": float(high),
    }


def verdicts(figures: pl.DataFrame) -> list[str]:
    """What was wanted of a log, and whether it is so: a sentence each."""
    peers = figures.filter(pl.col("model") != OURS)
    said = []
    for figure, sign in (("log_loss", 1), ("auc", -1)):
        best = peers.sort(sign * pl.col(figure)).row(0, named=True)
        seen = sorted(sign * best[f"d_{figure}{end}"] for end in ("_low", "_high"))
        verdict = (
            "strictly better"
            if seen[1] < 0
            else "non-inferior"
            if seen[1] <= MARGIN
            else "NOT non-inferior"
        )
        spread = ", ".join(
            f"{best[f'd_{figure}{end}']:+.4f}" for end in ("_low", "_high")
        )
        said.append(f"{figure}: best peer {best['model']} {best[figure]:.4f}, ours less that "
                    f"{best[f'd_{figure}']:+.4f} ({spread}): {verdict}")  # fmt: skip
    recency = peers.filter(pl.col("model") == "recency")["d_log_loss"][0]
    held = "within" if recency <= MARGIN else "NOT within"
    return [*said, f"log_loss: ours less recency {recency:+.4f}: {held} {MARGIN:+}"]
