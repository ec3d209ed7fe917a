"""The votes of a training set: shares of the classes, the two populations, agreement, what is voted for together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import rel_entr

from eda.charts import draw_boxes, draw_columns, draw_matrices, draw_stacks, measure_boxes
from eda.content import Content
from eda.rows import ALL, CLASSES, FEW, MANY, derive, split_populations
from eda.style import CLASS_COLOURS, DIVERGING_COLOURS, MATRIX_COLOURS, PAIR, RAMP
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
    named = pd.get_dummies(rows["expert_consensus"]).reindex(columns=CLASSES, fill_value=False)
    on_top = rows[CLASSES].eq(rows["top_share"], axis=0)
    return int((~(named & on_top).any(axis=1)).sum())


def count_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Count half-and-half rows by their two classes: (6, 6), lower triangle, NaN above and on the diagonal."""
    # Beside two halves no third class has more than a third of the votes.
    has_half = (rows.loc[rows["case"].isin(("proto", "edge")), CLASSES] > 1 / 3).astype(float)
    return (has_half.T @ has_half).where(np.tri(6, k=-1, dtype=bool))


def find_largest(frame: pd.DataFrame) -> tuple[str, str, float]:
    """Return the names of row and column, and the value, of a matrix's largest entry off the diagonal."""
    values = frame.mask(np.eye(len(frame), dtype=bool)).fillna(-np.inf).to_numpy()
    row, column = np.unravel_index(values.argmax(), values.shape)
    return CLASSES[row], CLASSES[column], float(frame.iat[row, column])


def measure_population(rows: pd.DataFrame) -> dict[str, float]:
    """Return a column of the table of populations: numbers, means, and the scores of constant predictions."""
    mean = rows[CLASSES].mean()
    return {
        "rows": len(rows),
        "mean entropy (nats)": rows["entropy"].mean(),
        **mean.add_prefix("mean share "),
        "score, uniform": score_constant(rows, UNIFORM),
        "score, mean share": score_constant(rows, mean),
    }


def add_votes(content: Content, rows: pd.DataFrame) -> None:
    """Add the votes: the two populations, the class on top, votes a row, agreement, entropy, classes in pairs."""
    populations = split_populations(rows)
    table = pd.DataFrame({name: measure_population(part) for name, part in populations.items()}, dtype=object)
    content.tables["populations"] = table.rename_axis("votes_of_a_row")
    voted = populations.pop(ALL)
    names = list(populations)
    apart = populations[names[0]][CLASSES].mean() - populations[names[-1]][CLASSES].mean()
    content.facts |= {
        "populations": populations,
        "voted": voted,
        "furthest_apart": apart.abs().idxmax(),
        "not_on_top": count_not_on_top(voted),
        "patients": voted.groupby("consensus", observed=True)["patient_id"].nunique(),
        "scores": table[names[-1]],
        "largest_pair": {},
    }

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


def add_cases(content: Content, rows: pd.DataFrame) -> None:
    """Add the cases: by population, by class, and the pairs of half-and-half rows."""
    for name, groups in (
        ("cases_by_population", split_populations(rows)),
        ("cases_by_class", dict(list(rows.groupby("consensus", observed=True)))),
    ):
        counts = pd.DataFrame({label: count_cases(group) for label, group in groups.items()}).T.rename_axis("rows")
        shares = counts.div(counts.sum(axis=1), axis=0).rename(lambda label: label.replace(" votes", ""))
        content.draw(name, draw_stacks(shares, RAMP, "share of the rows", columns=4), counts)
    pairs = count_pairs(rows)
    high, low, most = find_largest(pairs)
    content.facts |= {"cases": count_cases(rows), "half_and_half": (low, high, most)}
    content.tables["half_and_half"] = pairs.rename_axis("class")
    if most:
        content.draw("half_and_half", draw_matrices({"": pairs}, "", "", limits=(0, most), digits=0))


def count_cases(rows: pd.DataFrame) -> pd.Series:
    """Return the number of rows of each of the `CASES`."""
    return rows["case"].value_counts(sort=False)
