"""The votes of a training set: shares of the classes, the two populations, agreement, what is voted for together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from eda.charts import (
    QUANTILES,
    draw_boxes,
    draw_columns,
    draw_matrices,
    draw_stacks,
    find_largest_pair,
    quantiles_by_class,
)
from eda.rows import ALL, CLASSES, FEW, MANY, derive, split_populations
from eda.section import Section, Table
from eda.style import CLASS_COLOURS, DIVERGING_COLOURS, MATRIX_COLOURS, PAIR, number, percent
from kernel.constants import VOTES
from kernel.table import MANY_VOTES

SHORT = {FEW: f"<{MANY_VOTES}", MANY: f"≥{MANY_VOTES}", ALL: "All"}
"""How narrow columns name the populations."""

COLOURS = dict(zip((MANY, FEW), PAIR, strict=True))
ENTROPY_BINS = np.linspace(0, np.log(6), 13)

Populations = dict[str, pd.DataFrame]


def share_consensus(rows: pd.DataFrame, by: str | None = None) -> pd.Series:
    """Return the share of rows, or of recordings or patients with all their votes, that have each class on top."""
    units = derive(rows.groupby(by)[list(VOTES)].sum()) if by else rows
    return units["consensus"].value_counts(normalize=True, sort=False)


def share_together(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean share of the votes (columns) of the rows with a class on top (rows): (6, 6), NaN without rows."""
    return rows.groupby("consensus", observed=False)[CLASSES].mean().rename_axis(None)


def share_unanimous(rows: pd.DataFrame) -> pd.Series:
    """Return the share of each class's rows on which all agree, NaN without rows."""
    return (rows["top_share"] == 1).groupby(rows["consensus"], observed=False).mean()


def score_constant(rows: pd.DataFrame, prediction: np.ndarray | pd.Series) -> float:
    """Return the mean Kullback-Leibler divergence, in nats, of one prediction (6,) for all rows."""
    clipped = np.clip(prediction, 1e-15, 1 - 1e-15)
    return float((rows[CLASSES].to_numpy() @ -np.log(clipped)).mean() - rows["entropy"].mean())


def score_constants(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the scores of the same prediction for all rows: uniform, and the mean of the votes."""
    return score_constant(rows, np.full(6, 1 / 6)), score_constant(rows, rows[CLASSES].mean())


def count_not_on_top(rows: pd.DataFrame) -> int:
    """Count the rows whose `expert_consensus` is none of the classes with the most votes."""
    codes = pd.Categorical(rows["expert_consensus"], CLASSES).codes
    named = rows[CLASSES].to_numpy()[np.arange(len(rows)), codes]
    return int(((codes < 0) | (named < rows["top_share"])).sum())


def build_votes_section(rows: pd.DataFrame) -> Section:
    """Lay the votes out as text, charts and tables, two of like height after each other."""
    populations = split_populations(rows)
    two = {name: part for name, part in populations.items() if name != ALL}
    section = Section("votes", "Votes")
    section.text = [
        f"{_of_both(two, lambda rows: number(len(rows)) + ' rows')}. Rows with few votes and rows with many are "
        "different populations; the competition's test is believed to have the second kind."
    ]
    section.tables.append(_population_table(populations))
    _add_consensus(section, populations[ALL], two)
    _add_votes_per_row(section, populations[ALL]["n_votes"].value_counts().sort_index())
    _add_agreement(section, two)
    _add_entropy(section, two)
    _add_matrices(section, two)
    return section


def _of_both(two: Populations, describe: Callable[[pd.DataFrame], str]) -> str:
    """Write a phrase about each population."""
    return "; ".join(f"{name}: {describe(rows)}" for name, rows in two.items())


def _add_consensus(section: Section, voted: pd.DataFrame, two: Populations) -> None:
    by = {"By row": None, "By recording": "eeg_id", "By patient": "patient_id"}
    shares = {name: share_consensus(voted, column) for name, column in by.items()}
    frame = pd.DataFrame(shares | {name.capitalize(): share_consensus(rows) for name, rows in two.items()}).T
    figure = draw_stacks(frame, CLASS_COLOURS.values(), "share", columns=3)
    caption = "The class with the most votes: of a row, of all rows of a recording, of all rows of a patient."
    section.add("consensus", "Class on top", figure, caption, frame.rename_axis("of").reset_index())


def _add_votes_per_row(section: Section, histogram: pd.Series) -> None:
    counts = histogram.reindex(range(1, int(histogram.index.max()) + 1), fill_value=0)
    few = counts.index < MANY_VOTES
    frame = pd.DataFrame({FEW: counts.where(few, 0), MANY: counts.where(~few, 0)})
    figure = draw_columns(frame, [COLOURS[FEW], COLOURS[MANY]], "votes of a row", "rows", stacked=True)
    share = percent(histogram.max() / histogram.sum())
    caption = f"Most often a row has {histogram.idxmax()} votes: {share} of the rows."
    table = histogram.rename_axis("votes").rename("rows").reset_index()
    section.add("votes_per_row", "Votes per row", figure, caption, table)


def _add_agreement(section: Section, two: Populations) -> None:
    boxes = {name: quantiles_by_class(rows["top_share"], rows["consensus"]) for name, rows in two.items()}
    table = pd.concat(
        {name: box.assign(unanimous=share_unanimous(two[name])) for name, box in boxes.items()},
        names=["population", "class"],
    ).reset_index()
    low, high = percent(QUANTILES["q05"]), percent(QUANTILES["q95"])
    unanimous = _of_both(two, lambda rows: percent(float((rows["top_share"] == 1).mean())))
    caption = f"Boxes: the middle half and the median; lines: {low} to {high}. All agree, {unanimous}."
    panels = {name.capitalize(): box for name, box in boxes.items()}
    figure = draw_boxes(panels, "share of the votes for the class on top", share=True)
    section.add("agreement", "Agreement by class", figure, caption, table)


def _add_matrices(section: Section, two: Populations) -> None:
    for name, title, measure, labels, colours, limits, about, most in (
        ("co_vote", "Voted for together", share_together, ("mean share of the votes", "class on top"), MATRIX_COLOURS,
         (0, 1), "Rows with a class on top, and how their votes are shared out. Most often mixed",
         "{0} gives {2:.0%} to {1}"),
        ("correlation", "Correlation of vote shares", lambda rows: rows[CLASSES].corr(), ("", ""), DIVERGING_COLOURS,
         (-1, 1), "Shares add up to 1, so most pairs are negative. The highest pair", "{0} and {1}, {2:.2f}"),
    ):  # fmt: skip
        frames = {population: measure(rows) for population, rows in two.items()}
        figure = draw_matrices({n.capitalize(): frame for n, frame in frames.items()}, *labels, colours, limits)
        listed = "; ".join(f"{n}: {most.format(*find_largest_pair(frame))}" for n, frame in frames.items())
        table = pd.concat(frames, names=["population", "class"]).reset_index()
        section.add(name, title, figure, f"{about}, {listed}.", table)


def _add_entropy(section: Section, two: Populations) -> None:
    binned = {name: np.histogram(rows["entropy"], ENTROPY_BINS)[0] / len(rows) for name, rows in two.items()}
    frame = pd.DataFrame(binned, index=[f"{edge:.2f}" for edge in ENTROPY_BINS[:-1]])
    colours = [COLOURS[name] for name in binned]
    figure = draw_columns(frame, colours, "entropy of the votes in nats, from", "share of the rows")
    means = _of_both(two, lambda rows: f"{rows['entropy'].mean():.3f}")
    caption = f"0 where all agree, {np.log(6):.2f} where the six classes have equal shares. Mean, {means}."
    section.add("entropy", "Entropy of the votes", figure, caption, frame.rename_axis("from_nats").reset_index())


def _population_table(populations: Populations) -> Table:
    frame = pd.DataFrame({name: _measure_population(rows) for name, rows in populations.items()}, dtype=object)
    caption = (
        "What to beat: the competition's metric (lower is better) if every row gets the same prediction, uniform or "
        "the mean share of the column."
    )
    frame = frame.rename_axis("votes_of_a_row").reset_index()
    return Table("populations", "The two populations", frame, frame.rename(columns=SHORT), caption)


def _measure_population(rows: pd.DataFrame) -> dict[str, float]:
    uniform, mean = score_constants(rows)
    shares = {f"mean share {name}": share for name, share in rows[CLASSES].mean().items()}
    entropy = {"mean entropy (nats)": rows["entropy"].mean()}
    return {"rows": len(rows), **entropy, **shares, "score, uniform": uniform, "score, mean share": mean}
