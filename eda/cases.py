"""Ideal, proto and edge cases by the host's definitions, on shares of the votes.

ideal: one class has nearly all votes. proto: about half "other" and about half one of the five patterns. edge: about
half and half between two of the five. What is none of them is "mixed". The three exclude each other as long as the
ideal threshold is above one half.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from eda.charts import draw_matrices, draw_stacks, find_largest
from eda.content import Content
from eda.rows import CLASSES, split_populations
from eda.style import RAMP

CASES = ("ideal", "proto", "edge", "mixed")
OTHER = CLASSES.index("Other")


def sort_cases(rows: pd.DataFrame, ideal: float, half: float) -> pd.DataFrame:
    """Add each row's `case`, NaN without votes, and `first` and `second`, the numbers of its two foremost classes.

    In an ideal case one class has MORE than the share `ideal` of the votes, in proto and edge cases two have at least
    the share `half` each.
    """
    share = rows[CLASSES].fillna(0).to_numpy()
    first, second = np.argsort(-share, axis=1, kind="stable")[:, :2].T
    top, next_share = np.sort(share, axis=1)[:, :-3:-1].T
    # A share such as 9 / 20 must count as 0.45 whatever its rounding.
    is_ideal, halves = top > ideal + 1e-9, next_share >= half - 1e-9
    is_proto = halves & ((first == OTHER) | (second == OTHER))
    case = np.select([rows["n_votes"] == 0, is_ideal, is_proto, halves], ["", "ideal", "proto", "edge"], "mixed")
    return rows.assign(case=pd.Categorical(case, list(CASES)), first=first, second=second)


def count_cases(rows: pd.DataFrame) -> pd.Series:
    """Return the number of rows of each of the `CASES`."""
    return rows["case"].value_counts(sort=False)


def count_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Count half-and-half rows by their two classes: (6, 6), lower triangle, NaN above and on the diagonal."""
    pair = np.sort(rows.loc[rows["case"].isin(("proto", "edge")), ["first", "second"]].to_numpy(), axis=1)
    pairs = np.where(np.tri(6, k=-1, dtype=bool), 0.0, np.nan)
    np.add.at(pairs, (pair[:, 1], pair[:, 0]), 1)
    return pd.DataFrame(pairs, CLASSES, CLASSES)


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
