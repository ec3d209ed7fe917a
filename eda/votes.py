"""The votes of a training set: shares of the classes, the two populations, agreement, what is voted for together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import rel_entr

from eda.charts import draw_boxes, draw_columns, draw_matrices, draw_stacks, find_largest, measure_boxes
from eda.content import Content
from eda.rows import ALL, CLASSES, FEW, MANY, derive, split_populations
from eda.style import CLASS_COLOURS, DIVERGING_COLOURS, MATRIX_COLOURS, PAIR
from kernel.constants import VOTES
from kernel.table import MANY_VOTES

COLOURS = dict(zip((MANY, FEW), PAIR, strict=True))
ENTROPY_BINS = np.linspace(0, np.log(6), 13)
UNIFORM = np.full(6, 1 / 6)


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
    return float(rel_entr(rows[CLASSES].to_numpy(), np.clip(prediction, 1e-15, 1)).sum(axis=1).mean())


def count_not_on_top(rows: pd.DataFrame) -> int:
    """Count the rows whose `expert_consensus` is none of the classes with the most votes."""
    codes = pd.Categorical(rows["expert_consensus"], CLASSES).codes
    named = rows[CLASSES].to_numpy()[np.arange(len(rows)), codes]
    return int(((codes < 0) | (named < rows["top_share"])).sum())


def add_votes(content: Content, rows: pd.DataFrame) -> None:
    """Add the votes: the two populations, the class on top, votes a row, agreement, entropy, classes in pairs."""
    populations = split_populations(rows)
    table = pd.DataFrame({name: _measure_population(part) for name, part in populations.items()}, dtype=object)
    content.tables["populations"] = table.rename_axis("votes_of_a_row")
    voted = populations.pop(ALL)
    content.facts |= {"populations": populations, "voted": voted, "largest_pair": {}}

    by = {"By row": None, "By recording": "eeg_id", "By patient": "patient_id"}
    shares = {name: share_consensus(voted, column) for name, column in by.items()}
    shares |= {name.capitalize(): share_consensus(part) for name, part in populations.items()}
    table = pd.DataFrame(shares).T.rename_axis("of")
    content.draw("consensus", draw_stacks(table, CLASS_COLOURS.values(), "share", columns=3), table)

    counts = voted["n_votes"].value_counts().reindex(range(1, voted["n_votes"].max() + 1), fill_value=0)
    few = counts.index < MANY_VOTES
    split = pd.DataFrame({FEW: counts.where(few, 0), MANY: counts.where(~few, 0)})
    figure = draw_columns(split, [COLOURS[FEW], COLOURS[MANY]], "votes of a row", "rows", stacked=True)
    content.draw("votes_per_row", figure, counts[counts > 0].rename_axis("votes").to_frame("rows"))

    boxes = {name: measure_boxes(part["top_share"], part["consensus"]) for name, part in populations.items()}
    figure = draw_boxes(boxes, "share of the votes for the class on top", share=True)
    unanimous = {name: box.assign(unanimous=share_unanimous(populations[name])) for name, box in boxes.items()}
    content.draw("agreement", figure, pd.concat(unanimous, names=["population", "class"]))

    binned = {name: np.histogram(part["entropy"], ENTROPY_BINS)[0] / len(part) for name, part in populations.items()}
    table = pd.DataFrame(binned, [f"{edge:.2f}" for edge in ENTROPY_BINS[:-1]]).rename_axis("from_nats")
    colours = [COLOURS[name] for name in binned]
    figure = draw_columns(table, colours, "entropy of the votes in nats, from", "share of the rows")
    content.draw("entropy", figure, table)

    for name, measure, labels, palette, limits in (
        ("co_vote", share_together, ("mean share of the votes", "class on top"), MATRIX_COLOURS, (0, 1)),
        ("correlation", lambda part: part[CLASSES].corr(), ("", ""), DIVERGING_COLOURS, (-1, 1)),
    ):
        panels = {population: measure(part) for population, part in populations.items()}
        figure = draw_matrices(panels, *labels, palette, limits)
        content.draw(name, figure, pd.concat(panels, names=["population", "class"]))
        content.facts["largest_pair"][name] = {population: find_largest(panel) for population, panel in panels.items()}


def _measure_population(rows: pd.DataFrame) -> dict[str, float]:
    mean = rows[CLASSES].mean()
    return {
        "rows": len(rows),
        "mean entropy (nats)": rows["entropy"].mean(),
        **{f"mean share {name}": share for name, share in mean.items()},
        "score, uniform": score_constant(rows, UNIFORM),
        "score, mean share": score_constant(rows, mean),
    }
