"""What predictions are worth: KL with an interval, by class, confusion of soft votes, reliability, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kernel.constants import CLASS_NAMES, VOTES
from training.metric import kl_per_row

PREDICTED = tuple(name.replace("_vote", "_predicted") for name in VOTES)
"""Columns of predictions beside the votes' in `out_of_fold.csv`."""


def describe(
    shares: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None, resamples: int = 1000
) -> dict[str, Any]:
    """Sum up predictions against the votes' shares, both (n, 6).

    `groups`, (n,), are the patients: the bootstrap draws them, not rows, since rows of one patient are no independent
    evidence. The summary holds, for all and by_class {name: {...}} of the class with the most votes (the first of those
    that tie): rows, patients, kl, interval (95%, percentiles of the bootstrap) and voted_probability (the mean
    probability given to that class); and for all uniform_kl, top1 (share of rows whose leading classes agree),
    confusion (6 x 6: of the votes of a class, where the predicted probability went) and reliability (bins: mean
    predicted, mean voted, number).
    """
    kl = kl_per_row(shares, probabilities)
    leading = shares.argmax(axis=1)
    groups = np.arange(len(kl)) if groups is None else np.asarray(groups)
    to_voted = probabilities[np.arange(len(kl)), leading]

    def sum_up(rows: np.ndarray) -> dict[str, Any]:
        return {
            "rows": int(rows.sum()),
            "patients": len(np.unique(groups[rows])),
            "kl": round(float(kl[rows].mean()), 4),
            "interval": [round(float(edge), 4) for edge in _bootstrap(kl[rows], groups[rows], resamples)],
            "voted_probability": round(float(to_voted[rows].mean()), 4),
        }

    voted = shares.sum(axis=0)[:, None]
    confusion = np.divide(shares.T @ probabilities, voted, out=np.zeros((6, 6)), where=voted > 0)
    return {
        **sum_up(np.ones(len(kl), bool)),
        "uniform_kl": round(float(kl_per_row(shares, np.full_like(shares, 1 / 6, dtype=float)).mean()), 4),
        "top1": round(float((probabilities.argmax(axis=1) == leading).mean()), 4),
        "by_class": {name: sum_up(leading == c) for c, name in enumerate(CLASS_NAMES) if (leading == c).any()},
        "confusion": confusion.round(4).tolist(),
        "reliability": _reliability(shares, probabilities),
    }


def describe_table(table: pd.DataFrame) -> dict[str, Any]:
    """Sum up a table with the votes' shares, the predictions, patient_id, and `data` where folders are pooled."""
    groups = [column for column in ("data", "patient_id") if column in table]
    patients = table.groupby(groups).ngroup().to_numpy()
    return describe(table[list(VOTES)].to_numpy(), table[list(PREDICTED)].to_numpy(), patients)


def _bootstrap(kl: np.ndarray, groups: np.ndarray, resamples: int) -> np.ndarray:
    """Return the 2.5th and 97.5th percentile of the mean over resampled groups (Efron 1979)."""
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, kl), np.bincount(group)
    drawn = np.random.default_rng(0).integers(0, len(sums), (resamples, len(sums)))
    return np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])


def _reliability(shares: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> list[dict[Any, Any]]:
    """Return, for each tenth of the scale, the mean prediction and the mean share of the votes it met."""
    table = pd.DataFrame({"predicted": probabilities.ravel(), "voted": shares.ravel()})
    tenths = table.groupby(np.minimum(table["predicted"] * bins // 1, bins - 1))
    return tenths.mean().round(4).assign(number=tenths.size()).to_dict("records")


def print_summary(summary: dict[str, Any], confusion: bool = True) -> None:
    """Print a summary as a person reads it."""
    print(
        f"KL {summary['kl']:.4f}, 95% interval {_range(summary)}, over {summary['rows']} rows of "
        f"{summary['patients']} patients"
    )
    print(
        f"uniform {summary['uniform_kl']:.4f}; leading class right in {summary['top1']:.0%}; "
        f"mean probability given to the voted class {summary['voted_probability']:.3f}"
    )
    print("  class     rows      KL      95% interval   to the voted class")
    for name, one in summary["by_class"].items():
        print(f"  {name:8}{one['rows']:6}{one['kl']:8.3f}{_range(one):>18}{one['voted_probability']:21.3f}")
    if not confusion:
        return
    print("of the votes for (row), the predicted probability went to:")
    print("          " + "".join(f"{name:>9}" for name in CLASS_NAMES))
    for name, row in zip(CLASS_NAMES, summary["confusion"], strict=True):
        print(f"  {name:8}" + "".join(f"{value:9.3f}" for value in row))


def _range(summary: dict[str, Any]) -> str:
    """Return the interval as text; of one or two patients a bootstrap knows nothing."""
    return "{:.3f} to {:.3f}".format(*summary["interval"]) if summary["patients"] > 2 else "-"


def write_reliability(summary: dict[str, Any], path: Path) -> None:
    """Draw predicted against voted shares with the number of answers behind each point, and the confusion of votes."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplot_mosaic([["curve", "confusion"], ["counts", "confusion"]], height_ratios=(4, 1))
    predicted, voted, numbers = pd.DataFrame(summary["reliability"])[["predicted", "voted", "number"]].to_numpy().T
    axes["curve"].plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes["curve"].plot(predicted, voted, marker="o")
    axes["curve"].set(
        xlim=(0, 1), ylabel="share of the votes", title=f"KL {summary['kl']:.3f} over {summary['rows']} rows"
    )
    axes["counts"].bar_label(axes["counts"].bar(predicted, numbers, width=0.06, color="0.6"), fontsize=7)
    axes["counts"].set(
        xlim=(0, 1), ylim=(0.5, 8 * max(numbers)), yscale="log", xlabel="predicted probability", ylabel="answers"
    )
    image = axes["confusion"].imshow(np.array(summary["confusion"]), vmin=0, vmax=1, cmap="Blues")
    axes["confusion"].set_xticks(range(6), CLASS_NAMES, rotation=45)
    axes["confusion"].set_yticks(range(6), CLASS_NAMES)
    axes["confusion"].set(xlabel="predicted", ylabel="voted")
    figure.colorbar(image, ax=axes["confusion"])
    figure.savefig(path, dpi=110)


def write_curves(folds: dict[str, Any], path: Path) -> None:
    """Draw loss and validation KL of each fold over the epochs; a line marks where a stage begins."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    names = {"loss": "training loss", "kl": "validation KL"}
    for axis, (name, label) in zip(figure.subplots(1, 2), names.items(), strict=True):
        for fold, result in sorted(folds.items()):
            history = pd.DataFrame(result["history"], index=range(1, len(result["history"]) + 1))
            axis.plot(history[name], marker=".", label=f"fold {fold}")
            for epoch in history.index[1:][history["stage"].to_numpy()[1:] != history["stage"].to_numpy()[:-1]]:
                axis.axvline(epoch - 0.5, color="0.8", linewidth=1)
        axis.set(xlabel="epoch", ylabel=label)
        axis.legend()
    figure.savefig(path, dpi=110)
