"""Ideal, proto and edge cases by the host's definitions, on shares of the votes.

ideal: one class has nearly all votes. proto: about half "other" and about half one of the five patterns. edge: about
half and half between two of the five. What is none of them is "mixed". The three exclude each other as long as the
ideal threshold is above one half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eda.charts import draw_matrices, draw_stacks
from eda.rows import shares
from eda.section import Section, Table
from eda.style import RAMP, number, percent
from eda.votes import ALL, FEW, MANY
from kernel.constants import CLASS_NAMES

CASES = ("ideal", "proto", "edge", "mixed")
OTHER = CLASS_NAMES.index("Other")


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


@dataclass(frozen=True)
class Cases:
    """Each row's case, -1 without votes, and the numbers of its two foremost classes: arrays of shape (n_rows,)."""

    thresholds: CaseThresholds
    case: np.ndarray
    first: np.ndarray
    second: np.ndarray
    many: np.ndarray

    def counts(self, where: np.ndarray | None = None) -> np.ndarray:
        """Return the number of rows of each case, shape (4,), of all rows or of those in a mask."""
        chosen = self.case if where is None else self.case[where]
        return np.bincount(chosen[chosen >= 0], minlength=len(CASES))


def sort_cases(rows: pd.DataFrame, thresholds: CaseThresholds) -> Cases:
    """Sort rows, as `derive` returns them, into cases; `first` is the class with the most votes, `second` the next."""
    share = np.nan_to_num(shares(rows))
    order = np.argsort(-share, axis=1, kind="stable")
    first, second = order[:, 0], order[:, 1]
    # A share such as 9 / 20 must count as 0.45 whatever its rounding.
    halves = np.take_along_axis(share, order[:, :2], axis=1).min(axis=1) >= thresholds.half - 1e-9
    ideal = share.max(axis=1) > thresholds.ideal + 1e-9
    with_other = (first == OTHER) | (second == OTHER)
    case = np.select([rows["n_votes"].to_numpy() == 0, ideal, halves & with_other, halves], [-1, 0, 1, 2], 3)
    return Cases(thresholds, case, first, second, rows["many"].to_numpy())


def count_pairs(cases: Cases, where: np.ndarray) -> np.ndarray:
    """Count half-and-half rows by their two classes: shape (6, 6), lower triangle, NaN above and on the diagonal."""
    chosen = where & ((cases.case == 1) | (cases.case == 2))
    low, high = (f(cases.first[chosen], cases.second[chosen]) for f in (np.minimum, np.maximum))
    pairs = np.zeros((6, 6))
    np.add.at(pairs, (high, low), 1)
    return np.where(np.tri(6, k=-1, dtype=bool), pairs, np.nan)


def build_cases_section(cases: Cases) -> Section:
    """Lay the cases out as text, charts and tables."""
    section = Section("cases", "Ideal, proto and edge cases")
    limits, counts = cases.thresholds, cases.counts()
    listed = (
        f"{number(n)} {name} ({percent(n / max(1, counts.sum()))})" for name, n in zip(CASES, counts, strict=True)
    )
    section.text = [
        f"By shares of the votes. Ideal: one class has more than {percent(limits.ideal)}. Proto: “other” and one of "
        f"the five patterns have at least {percent(limits.half)} each. Edge: two of the five have at least "
        f"{percent(limits.half)} each. Mixed: the rest. Here: {', '.join(listed)}.",
    ]
    everywhere = np.ones(len(cases.case), bool)
    by_population = {ALL: everywhere, FEW: ~cases.many, MANY: cases.many}
    _add_shares(section, "cases_by_population", "Cases in the two populations", cases, by_population)
    by_class = {name: cases.first == c for c, name in enumerate(CLASS_NAMES)}
    _add_shares(section, "cases_by_class", "Cases by the class on top", cases, by_class)
    pairs = pd.DataFrame(count_pairs(cases, everywhere), index=list(CLASS_NAMES), columns=list(CLASS_NAMES))
    title, table = "Half and half, by pair", pairs.rename_axis("class").reset_index()
    most = np.nanmax(pairs.to_numpy())
    if not most:
        section.text.append("No row is half and half between two classes.")
        section.tables.append(Table("half_and_half", title, table))
        return section
    high, low = np.unravel_index(np.nanargmax(pairs.to_numpy()), pairs.shape)
    caption = (
        f"Rows about half and half between two classes: proto in the last line, edge in the others. "
        f"Most often {CLASS_NAMES[low]} and {CLASS_NAMES[high]}: {number(most)}."
    )
    section.add("half_and_half", title, draw_matrices({"": pairs}, "", "", limits=(0, most), digits=0), caption, table)
    return section


def _add_shares(section: Section, name: str, title: str, cases: Cases, groups: dict[str, np.ndarray]) -> None:
    counts = pd.DataFrame({label: cases.counts(where) for label, where in groups.items()}, index=list(CASES)).T
    part = counts[counts.sum(axis=1) > 0]
    part = part.div(part.sum(axis=1), axis=0)
    short = part.rename(index=lambda label: label.replace(" votes", ""))
    details = "; ".join(
        f"{label}: " + ", ".join(f"{case} {percent(share)}" for case, share in row.items())
        for label, row in short.iterrows()
    )
    figure = draw_stacks(short, RAMP, "share of the rows", columns=4)
    section.add(name, title, figure, "", counts.rename_axis("rows").reset_index(), f"{details}.")
