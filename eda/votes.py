"""The votes of a training set: shares of the classes, the two populations, agreement, what is voted for together.

Two populations, because rows with few votes and rows with many differ in everything: who was asked, which windows, how
much they agree. The hidden test is believed to be like the rows with many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import entropy

from eda.charts import QUANTILES, draw_boxes, draw_class_panels, draw_columns, draw_matrices, quantiles
from eda.rows import count_votes, shares
from eda.section import Section, Table
from eda.style import DIVERGING_COLOURS, MATRIX_COLOURS, PAIR, number, percent
from kernel.constants import CLASS_NAMES, VOTES
from kernel.table import MANY_VOTES

FEW, MANY, ALL = f"under {MANY_VOTES} votes", f"{MANY_VOTES} votes or more", "all rows"
SHORT = {FEW: f"<{MANY_VOTES}", MANY: f"≥{MANY_VOTES}", ALL: "All"}
"""How narrow columns name the populations."""

COLOURS = dict(zip((MANY, FEW), PAIR, strict=True))
ENTROPY_BINS = np.linspace(0, np.log(6), 13)


@dataclass(frozen=True)
class Population:
    """What the votes of a set of rows look like; classes in the order of `CLASS_NAMES`."""

    rows: int
    consensus: np.ndarray
    """Share of the rows with each class on top, shape (6,)."""
    soft_label: np.ndarray
    """Mean share of the votes, shape (6,)."""
    co_vote: np.ndarray
    """Mean share of the votes (columns) of the rows with a class on top (rows), shape (6, 6), NaN without rows."""
    correlation: np.ndarray
    """Pearson correlation of the shares, shape (6, 6), NaN where a share never changes."""
    unanimous: np.ndarray
    """Share of each class's rows on which all agree, shape (6,), NaN without rows."""
    top_shares: list[np.ndarray]
    entropies: np.ndarray
    uniform_score: float
    prior_score: float
    """The competition's metric for constant predictions: uniform, and the population's own mean."""


@dataclass(frozen=True)
class Votes:
    """The votes of a training set, as `measure_votes` finds them."""

    by_row: np.ndarray
    by_recording: np.ndarray
    by_patient: np.ndarray
    """Consensus shares, shape (6,) each; a recording's or patient's class is the one with the most votes in all."""
    histogram: pd.Series
    populations: dict[str, Population]
    without_votes: int
    not_on_top: int
    """Rows whose `expert_consensus` is none of the classes with the most votes."""

    def two(self) -> dict[str, Population]:
        """Return the populations that there are, without all rows together."""
        return {name: population for name, population in self.populations.items() if name != ALL}


def measure_votes(rows: pd.DataFrame) -> Votes:
    """Measure the votes; rows without a vote are counted and left out."""
    voted = rows[rows["n_votes"] > 0]
    counts = count_votes(voted)
    named = voted["expert_consensus"].map({name: i for i, name in enumerate(CLASS_NAMES)})
    given = named.notna().to_numpy()
    chosen = counts[np.flatnonzero(given), named[given].to_numpy(np.int64)]
    parts = {FEW: voted[~voted["many"]], MANY: voted[voted["many"]], ALL: voted}
    return Votes(
        by_row=_consensus_shares(counts),
        by_recording=_consensus_shares(count_votes(voted.groupby("eeg_id")[list(VOTES)].sum())),
        by_patient=_consensus_shares(count_votes(voted.groupby("patient_id")[list(VOTES)].sum())),
        histogram=voted["n_votes"].value_counts().sort_index(),
        populations={name: measure_population(part) for name, part in parts.items() if len(part)},
        without_votes=len(rows) - len(voted),
        not_on_top=int((chosen < counts[given].max(axis=1, initial=0)).sum() + (~given).sum()),
    )


def _consensus_shares(counts: np.ndarray) -> np.ndarray:
    return np.bincount(counts.argmax(axis=1), minlength=6) / max(1, len(counts))


def measure_population(rows: pd.DataFrame) -> Population:
    """Measure rows that all have votes."""
    share, top = shares(rows), count_votes(rows).argmax(axis=1)
    members = [top == c for c in range(6)]
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.corrcoef(share, rowvar=False) if len(share) > 1 else np.full((6, 6), np.nan)
    top_share = rows["top_share"].to_numpy()
    mean = share.mean(axis=0)
    return Population(
        rows=len(rows),
        consensus=_consensus_shares(count_votes(rows)),
        soft_label=mean,
        co_vote=np.array([share[m].mean(axis=0) if m.any() else np.full(6, np.nan) for m in members]),
        correlation=correlation,
        unanimous=np.array([(top_share[m] == 1).mean() if m.any() else np.nan for m in members]),
        top_shares=[top_share[m] for m in members],
        entropies=rows["entropy"].to_numpy(),
        uniform_score=score_constant(share, np.full(6, 1 / 6)),
        prior_score=score_constant(share, mean),
    )


def score_constant(share: np.ndarray, prediction: np.ndarray) -> float:
    """Return the mean Kullback-Leibler divergence, in nats, of one prediction (6,) for all rows' shares (n_rows, 6)."""
    clipped = np.clip(prediction, 1e-15, 1 - 1e-15)
    return float((share @ -np.log(clipped)).mean() - entropy(share, axis=1).mean())


def build_votes_section(votes: Votes) -> Section:
    """Lay the votes out as text, charts and tables, two of like height after each other."""
    section = Section("votes", "Votes", [_compare(votes)])
    section.tables.append(_population_table(votes))
    _add_consensus(section, votes)
    _add_agreement(section, votes)
    _add_votes_per_row(section, votes)
    _add_entropy(section, votes)
    _add_matrices(section, votes)
    return section


def _compare(votes: Votes) -> str:
    few, many = votes.populations.get(FEW), votes.populations.get(MANY)
    if few is None or many is None:
        return f"All rows have {FEW if many is None else MANY}: there is one population of rows."
    apart = int(np.abs(few.consensus - many.consensus).argmax())
    return (
        f"{number(few.rows)} rows have {FEW} and {number(many.rows)} have {MANY}. They are different populations: "
        f"{CLASS_NAMES[apart]} is on top of {percent(few.consensus[apart])} of the first and "
        f"{percent(many.consensus[apart])} of the second; the mean entropy is {few.entropies.mean():.2f} nats and "
        f"{many.entropies.mean():.2f}. The competition's test is believed to have the second kind."
    )


def _list_classes(values: np.ndarray) -> str:
    return ", ".join(f"{name} {percent(v)}" for name, v in zip(CLASS_NAMES, values, strict=True) if not np.isnan(v))


def _of_both(votes: Votes, describe: Callable[[Population], str]) -> str:
    """Write a phrase about each population."""
    return "; ".join(f"{name}: {describe(population)}" for name, population in votes.two().items())


def _add_consensus(section: Section, votes: Votes) -> None:
    panels = {"By row": votes.by_row, "By recording": votes.by_recording, "By patient": votes.by_patient}
    by_what = pd.DataFrame(panels, index=list(CLASS_NAMES))
    by_population = pd.DataFrame({n.capitalize(): p.consensus for n, p in votes.two().items()}, index=by_what.index)
    for name, title, frame, caption in (
        ("consensus", "Consensus by row, recording and patient", by_what,
         "The class with the most votes: of a row, of all rows of a recording, of all rows of a patient."),
        ("consensus_by_population", "Consensus in the two populations", by_population,
         "The class with the most votes, among rows with few votes and rows with many."),
    ):  # fmt: skip
        table = frame.rename(columns=lambda label: label.lower().replace(" ", "_")).rename_axis("class").reset_index()
        details = "; ".join(f"{label}: {_list_classes(values.to_numpy())}" for label, values in frame.items())
        section.add(name, title, draw_class_panels(frame, "share"), caption, table, f"{details}.")


def _add_votes_per_row(section: Section, votes: Votes) -> None:
    counts = votes.histogram.reindex(range(1, int(votes.histogram.index.max()) + 1), fill_value=0)
    few = counts.index < MANY_VOTES
    frame = pd.DataFrame({FEW: counts.where(few, 0), MANY: counts.where(~few, 0)})
    figure = draw_columns(
        frame, [COLOURS[FEW], COLOURS[MANY]], "votes of a row", "rows",
        shares=False, every=1 if len(frame) <= 15 else 2, stacked=True,
    )  # fmt: skip
    common = int(votes.histogram.idxmax())
    share = percent(votes.histogram.max() / votes.histogram.sum())
    table = votes.histogram.rename_axis("votes").rename("rows").reset_index()
    caption = f"Most often a row has {common} votes: {share} of the rows."
    section.add("votes_per_row", "Votes per row", figure, caption, table)


def _add_agreement(section: Section, votes: Votes) -> None:
    panels = {n.capitalize(): dict(zip(CLASS_NAMES, p.top_shares, strict=True)) for n, p in votes.two().items()}
    frames = []
    for name, population in votes.two().items():
        frame = pd.DataFrame(map(quantiles, population.top_shares), columns=["q05", "q25", "median", "q75", "q95"])
        frames.append(frame.assign(unanimous=population.unanimous, population=name, **{"class": CLASS_NAMES}))
    caption = (
        f"Boxes: the middle half and the median; lines: {percent(QUANTILES[0])} to {percent(QUANTILES[-1])}. All "
        f"agree, {_of_both(votes, lambda p: _list_classes(p.unanimous))}."
    )
    figure = draw_boxes(panels, "share of the votes for the class on top", share=True)
    medians = _of_both(votes, lambda p: _list_classes(np.array([quantiles(v)[2] for v in p.top_shares])))
    section.add("agreement", "Agreement by class", figure, caption, pd.concat(frames), f"Medians, {medians}.")


def _add_matrices(section: Section, votes: Votes) -> None:
    for name, title, xlabel, ylabel, colours, limits, about, most in (
        ("co_vote", "Voted for together", "mean share of the votes", "class on top", MATRIX_COLOURS, (0, 1),
         "Rows with a class on top, and how their votes are shared out. Most often mixed",
         "{0} gives {2:.0%} to {1}"),
        ("correlation", "Correlation of vote shares", "", "", DIVERGING_COLOURS, (-1, 1),
         "Shares add up to 1, so most pairs are negative. The highest pair", "{0} and {1}, {2:.2f}"),
    ):  # fmt: skip
        frames = {n: pd.DataFrame(getattr(p, name), CLASS_NAMES, CLASS_NAMES) for n, p in votes.two().items()}
        panels = {n.capitalize(): frame for n, frame in frames.items()}
        figure = draw_matrices(panels, xlabel, ylabel, colours, limits)
        listed = "; ".join(f"{n}: {most.format(*_largest_pair(frame))}" for n, frame in frames.items())
        table = pd.concat(frames, names=["population", "class"]).reset_index()
        section.add(name, title, figure, f"{about}, {listed}.", table)


def _largest_pair(frame: pd.DataFrame) -> tuple[str, str, float]:
    """Return the names of row and column, and the value, of the largest entry off the diagonal."""
    values = frame.to_numpy()
    off = np.where(np.eye(6, dtype=bool) | np.isnan(values), -np.inf, values)
    row, column = np.unravel_index(off.argmax(), off.shape)
    return CLASS_NAMES[row], CLASS_NAMES[column], float(values[row, column])


def _add_entropy(section: Section, votes: Votes) -> None:
    binned = {n: np.histogram(np.clip(p.entropies, 0, None), ENTROPY_BINS)[0] / p.rows for n, p in votes.two().items()}
    frame = pd.DataFrame(binned, index=[f"{edge:.2f}" for edge in ENTROPY_BINS[:-1]])
    colours = [COLOURS[name] for name in binned]
    figure = draw_columns(frame, colours, "entropy of the votes in nats, from", "share of the rows", every=2)
    means = _of_both(votes, lambda p: f"{p.entropies.mean():.3f}")
    caption = f"0 where all agree, {np.log(6):.2f} where the six classes have equal shares. Mean, {means}."
    table = frame.rename(columns=lambda name: name.replace(" ", "_")).rename_axis("from_nats").reset_index()
    section.add("entropy", "Entropy of the votes", figure, caption, table)


def _population_table(votes: Votes) -> Table:
    all_of = list(votes.populations.values())
    measures: dict[str, tuple[list[float], int]] = {
        "rows": ([p.rows for p in all_of], 0),
        "mean entropy (nats)": ([p.entropies.mean() for p in all_of], 3),
        **{f"mean share {name}": ([p.soft_label[c] for p in all_of], 3) for c, name in enumerate(CLASS_NAMES)},
        "score, uniform": ([p.uniform_score for p in all_of], 3),
        "score, mean share": ([p.prior_score for p in all_of], 3),
    }
    frame = pd.DataFrame([[m, *v] for m, (v, _) in measures.items()], columns=["measure", *votes.populations])
    shown = pd.DataFrame(
        [[m, *(number(x, digits) for x in v)] for m, (v, digits) in measures.items()],
        columns=["Votes of a row", *(SHORT[n] for n in votes.populations)],
    )
    caption = (
        "What to beat: the competition's metric (lower is better) if every row gets the same prediction, uniform or "
        "the mean share of the column."
    )
    return Table("populations", "The two populations", frame, shown, caption)
