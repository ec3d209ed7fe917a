"""The votes of a training set: shares of the classes, the two populations, agreement, what is voted for together.

Called by `report.py`. Two populations, because rows with few votes and rows with many differ in everything: who was
asked, which windows, how much they agree. The hidden test resembles the rows with many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import entropy

from eda.charts import QUANTILES, draw_boxes, draw_class_panels, draw_columns, draw_matrices
from eda.rows import MANY_VOTES, count_votes, shares
from eda.section import Section, Table, render
from eda.style import CLASS_COLOURS, DIVERGING_COLOURS, POPULATION_COLOURS, number, percent
from kernel.constants import CLASS_NAMES, VOTES

FEW, MANY, ALL = f"under {MANY_VOTES} votes", f"{MANY_VOTES} votes or more", "all rows"
SHORT = {FEW: f"<{MANY_VOTES}", MANY: f"≥{MANY_VOTES}", ALL: "All"}
"""How narrow columns name the populations."""

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
    """Lay the votes out as text, charts and tables."""
    section = Section("votes", "Votes")
    few, many = votes.populations.get(FEW), votes.populations.get(MANY)
    section.text = [_compare(few, many)]
    _draw_consensus(section, votes)
    _draw_votes_per_row(section, votes)
    _draw_agreement(section, votes)
    _draw_matrices(section, votes)
    _draw_entropy(section, votes)
    section.tables.append(_population_table(votes))
    return section


def _compare(few: Population | None, many: Population | None) -> str:
    if few is None or many is None:
        return f"All rows have {FEW if many is None else MANY}: there is one population of rows."
    apart = int(np.abs(few.consensus - many.consensus).argmax())
    return (
        f"{number(few.rows)} rows have {FEW} and {number(many.rows)} have {MANY}. They are different populations: "
        f"{CLASS_NAMES[apart]} is on top of {percent(few.consensus[apart])} of the first and "
        f"{percent(many.consensus[apart])} of the second; the mean entropy is {few.entropies.mean():.2f} nats and "
        f"{many.entropies.mean():.2f}. The competition's test has the second kind."
    )


def _list_classes(values: np.ndarray) -> str:
    return ", ".join(f"{name} {percent(v)}" for name, v in zip(CLASS_NAMES, values, strict=True) if not np.isnan(v))


def _draw_consensus(section: Section, votes: Votes) -> None:
    units = [("by row", votes.by_row), ("by recording", votes.by_recording), ("by patient", votes.by_patient)]
    parts = [(name, population.consensus) for name, population in _two(votes).items()]
    for name, title, panels, caption in (
        ("consensus", "Consensus by row, recording and patient", units,
         "The class with the most votes: of a row, of all rows of a recording, of all rows of a patient."),
        ("consensus_by_population", "Consensus in the two populations", parts,
         "The class with the most votes, among rows with few votes and rows with many."),
    ):  # fmt: skip
        alt = f"Bar chart, share of each class. {'; '.join(f'{label}: {_list_classes(v)}' for label, v in panels)}."
        figure = draw_class_panels([(label.capitalize(), list(v)) for label, v in panels], "share")
        section.pictures.append(render(figure, name, title, alt, caption))
        frame = pd.DataFrame({"class": CLASS_NAMES, **{label.replace(" ", "_"): v for label, v in panels}})
        section.tables.append(Table(name, title, frame))


def _draw_votes_per_row(section: Section, votes: Votes) -> None:
    counts = votes.histogram.reindex(range(1, int(votes.histogram.index.max()) + 1), fill_value=0)
    few = [v if n < MANY_VOTES else 0 for n, v in zip(counts.index, counts, strict=True)]
    many = [v if n >= MANY_VOTES else 0 for n, v in zip(counts.index, counts, strict=True)]
    figure = draw_columns(
        [str(n) for n in counts.index],
        [(FEW, few, POPULATION_COLOURS[0]), (MANY, many, POPULATION_COLOURS[1])],
        "votes of a row", "rows", shares=False, every=max(1, len(counts) // 10), stacked=True,
    )  # fmt: skip
    common = int(votes.histogram.idxmax())
    summary = (
        f"Most often a row has {common} votes: {percent(votes.histogram.max() / votes.histogram.sum())} of the rows."
    )
    alt = f"Column chart of the number of votes of a row, from 1 to {counts.index.max()}. {summary}"
    section.pictures.append(render(figure, "votes_per_row", "Votes per row", alt, summary))
    frame = votes.histogram.rename_axis("votes").rename("rows").reset_index()
    section.tables.append(Table("votes_per_row", "Votes per row", frame))


def _two(votes: Votes) -> dict[str, Population]:
    """Return the populations that there are, without all rows together."""
    return {name: population for name, population in votes.populations.items() if name != ALL}


def _draw_agreement(section: Section, votes: Votes) -> None:
    title, frames, panels = "Agreement by class", [], []
    for name, population in _two(votes).items():
        groups = zip(CLASS_COLOURS.items(), population.top_shares, strict=True)
        panels.append((name.capitalize(), [(label, values, colour) for (label, colour), values in groups]))
        quantiles = [np.quantile(v, QUANTILES) if len(v) else [np.nan] * 5 for v in population.top_shares]
        frame = pd.DataFrame(quantiles, columns=["q05", "q25", "median", "q75", "q95"])
        frame.insert(0, "class", CLASS_NAMES)
        frame.insert(0, "population", name)
        frame["unanimous"] = population.unanimous
        frames.append(frame)
    unanimous = "; ".join(f"{name}: {_list_classes(p.unanimous)}" for name, p in _two(votes).items())
    caption = f"Boxes: the middle half and the median; lines: 5% to 95%. All agree, {unanimous}."
    medians = "; ".join(
        f"{name}: {_list_classes(np.array([np.median(v) if len(v) else np.nan for v in p.top_shares]))}"
        for name, p in _two(votes).items()
    )
    figure = draw_boxes(panels, "share of the votes for the class on top", share=True)
    section.pictures.append(render(figure, "agreement", title, f"Box chart. Medians, {medians}. {caption}", caption))
    section.tables.append(Table("agreement", title, pd.concat(frames)))


def _draw_matrices(section: Section, votes: Votes) -> None:
    panels = [(name.capitalize(), population.co_vote) for name, population in _two(votes).items()]
    figure = draw_matrices(panels, CLASS_NAMES, "mean share of the votes", "class on top")
    most = "; ".join(
        f"{name}: {CLASS_NAMES[i]} gives {percent(value)} to {CLASS_NAMES[j]}"
        for name, (i, j, value) in ((n, _largest_pair(p.co_vote)) for n, p in _two(votes).items())
    )
    caption = f"Rows with a class on top, and how their votes are shared out. Most often mixed, {most}."
    _add_matrices(section, figure, "co_vote", "Voted for together", caption, panels)
    panels = [(name.capitalize(), population.correlation) for name, population in _two(votes).items()]
    figure = draw_matrices(panels, CLASS_NAMES, "", "", DIVERGING_COLOURS, (-1, 1))
    most = "; ".join(
        f"{name}: {CLASS_NAMES[i]} and {CLASS_NAMES[j]}, {value:.2f}"
        for name, (i, j, value) in ((n, _largest_pair(p.correlation)) for n, p in _two(votes).items())
    )
    caption = f"Shares add up to 1, so most pairs are negative. The highest pair, {most}."
    _add_matrices(section, figure, "correlation", "Correlation of vote shares", caption, panels)


def _largest_pair(values: np.ndarray) -> tuple[int, int, float]:
    """Return row, column and value of the largest entry off the diagonal."""
    off = np.where(np.eye(6, dtype=bool) | np.isnan(values), -np.inf, values)
    row, column = np.unravel_index(off.argmax(), off.shape)
    return int(row), int(column), float(values[row, column])


def _add_matrices(
    section: Section, figure: Figure, name: str, title: str, caption: str, panels: list[tuple[str, np.ndarray]]
) -> None:
    section.pictures.append(render(figure, name, title, f"Six by six matrix for each population. {caption}", caption))
    frames = [pd.DataFrame(values, columns=list(CLASS_NAMES)) for _, values in panels]
    for frame, (label, _) in zip(frames, panels, strict=True):
        frame.insert(0, "class", CLASS_NAMES)
        frame.insert(0, "population", label.lower())
    section.tables.append(Table(name, title, pd.concat(frames)))


def _draw_entropy(section: Section, votes: Votes) -> None:
    series = [
        (name, np.histogram(np.clip(p.entropies, 0, None), ENTROPY_BINS)[0] / p.rows, POPULATION_COLOURS[name == MANY])
        for name, p in _two(votes).items()
    ]
    labels = [f"{edge:.2f}" for edge in ENTROPY_BINS[:-1]]
    figure = draw_columns(labels, series, "entropy of the votes in nats, from", "share of the rows", every=2)
    means = "; ".join(f"{n}: {p.entropies.mean():.3f}" for n, p in _two(votes).items())
    caption = f"0 where all agree, {np.log(6):.2f} where the six classes have equal shares. Mean, {means}."
    section.pictures.append(render(figure, "entropy", "Entropy of the votes", f"Column chart. {caption}", caption))
    frame = pd.DataFrame({"from_nats": ENTROPY_BINS[:-1], **{name.replace(" ", "_"): v for name, v, _ in series}})
    section.tables.append(Table("entropy", "Entropy", frame))


def _population_table(votes: Votes) -> Table:
    measures: list[tuple[str, list[float], int]] = [
        ("rows", [p.rows for p in votes.populations.values()], 0),
        ("mean entropy (nats)", [p.entropies.mean() for p in votes.populations.values()], 3),
        *(
            (f"mean share {name}", [p.soft_label[c] for p in votes.populations.values()], 3)
            for c, name in enumerate(CLASS_NAMES)
        ),
        ("score, uniform", [p.uniform_score for p in votes.populations.values()], 3),
        ("score, mean share", [p.prior_score for p in votes.populations.values()], 3),
    ]
    names = list(votes.populations)
    frame = pd.DataFrame([[m, *v] for m, v, _ in measures], columns=["measure", *names])
    shown = pd.DataFrame(
        [[m, *(number(x, digits) for x in v)] for m, v, digits in measures],
        columns=["Votes of a row", *(SHORT[n] for n in names)],
    )
    caption = (
        "Scores: the competition's metric (lower is better) for one and the same prediction everywhere, uniform or the "
        "mean share of the column. What to beat."
    )
    return Table("populations", "The two populations", frame, shown, caption)
