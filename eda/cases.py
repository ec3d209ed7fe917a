"""Ideal, proto and edge cases by the host's definitions, on shares of the votes.

ideal: one class has nearly all votes. proto: about half "other" and about half one of the five patterns. edge: about
half and half between two of the five. What is none of them is "mixed". The three exclude each other as long as the
ideal threshold is above one half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eda.charts import draw_matrices, draw_stacks, find_largest_pair
from eda.rows import CLASSES, split_populations
from eda.section import Section, Table
from eda.style import RAMP, number, percent

CASES = ("ideal", "proto", "edge", "mixed")
OTHER = CLASSES.index("Other")


@dataclass(frozen=True)
class CaseThresholds:
    """Where "nearly all" and "about half" begin, as shares of a row's votes."""

    ideal: float = 0.9
    """One class has MORE than this share."""
    half: float = 0.45
    """Two classes have at least this share each."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.ideal < 1:
            raise ValueError(f"the threshold of ideal cases must lie in [0.5, 1), found {self.ideal}")
        if not 1 / 3 < self.half <= 0.5:
            raise ValueError(f"the threshold of about half must lie in (1/3, 0.5], found {self.half}")


def sort_cases(rows: pd.DataFrame, thresholds: CaseThresholds) -> pd.DataFrame:
    """Add each row's `case`, NaN without votes, and `first` and `second`, the numbers of its two foremost classes."""
    share = rows[CLASSES].fillna(0).to_numpy()
    order = np.argsort(-share, axis=1, kind="stable")
    first, second = order[:, 0], order[:, 1]
    # A share such as 9 / 20 must count as 0.45 whatever its rounding.
    halves = np.take_along_axis(share, order[:, :2], axis=1).min(axis=1) >= thresholds.half - 1e-9
    ideal = share.max(axis=1) > thresholds.ideal + 1e-9
    with_other = (first == OTHER) | (second == OTHER)
    case = np.select([ideal, halves & with_other, halves], ["ideal", "proto", "edge"], "mixed")
    case = np.where(rows["n_votes"] > 0, case, "")
    return rows.assign(case=pd.Categorical(case, list(CASES)), first=first, second=second)


def count_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Count half-and-half rows by their two classes: (6, 6), lower triangle, NaN above and on the diagonal."""
    pair = rows.loc[rows["case"].isin(("proto", "edge")), ["first", "second"]]
    pairs = np.zeros((6, 6))
    np.add.at(pairs, (pair.max(axis=1), pair.min(axis=1)), 1)
    return pd.DataFrame(np.where(np.tri(6, k=-1, dtype=bool), pairs, np.nan), CLASSES, CLASSES)


def build_cases_section(rows: pd.DataFrame, thresholds: CaseThresholds) -> Section:
    """Lay the cases out as text, charts and tables."""
    ideal, half = percent(thresholds.ideal), percent(thresholds.half)
    found = ", ".join(
        f"{number(n)} {case} ({percent(n / rows['case'].count())})" for case, n in count_cases(rows).items()
    )
    section = Section("cases", "Ideal, proto and edge cases")
    section.text = [
        f"By shares of the votes. Ideal: one class has more than {ideal}. Proto: “other” and one of the five patterns "
        f"have at least {half} each. Edge: two of the five have at least {half} each. Mixed: the rest. Here: {found}."
    ]
    by_class = {name: rows[rows["consensus"] == name] for name in CLASSES}
    for name, title, groups in (
        ("cases_by_population", "Cases in the two populations", split_populations(rows)),
        ("cases_by_class", "Cases by the class on top", by_class),
    ):
        counts = pd.DataFrame({label: count_cases(group) for label, group in groups.items() if len(group)}).T
        shares = counts.div(counts.sum(axis=1), axis=0).rename(lambda label: label.replace(" votes", ""))
        figure = draw_stacks(shares, RAMP, "share of the rows", columns=4)
        section.add(name, title, figure, "", counts.rename_axis("rows").reset_index())
    pairs = count_pairs(rows)
    title, table = "Half and half, by pair", pairs.rename_axis("class").reset_index()
    if not np.nansum(pairs):
        section.text.append("No row is half and half between two classes.")
        section.tables.append(Table("half_and_half", title, table))
        return section
    high, low, most = find_largest_pair(pairs)
    caption = (
        "Rows about half and half between two classes: proto in the last line, edge in the others. "
        f"Most often {low} and {high}: {number(most)}."
    )
    section.add("half_and_half", title, draw_matrices({"": pairs}, "", "", limits=(0, most), digits=0), caption, table)
    return section


def count_cases(rows: pd.DataFrame) -> pd.Series:
    """Return the number of rows of each of the `CASES`."""
    return rows["case"].value_counts(sort=False)
