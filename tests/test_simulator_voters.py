"""The raters: their votes have the published statistics, and their doubt is a property of the signal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernel.constants import PRIOR
from simulator.calibrate import compare_figures, describe_votes, read_figures
from simulator.generate import simulate_window
from simulator.plan import SEIZURES, SURE_SEIZURE, draw_plan
from simulator.population import JITTER, draw_events, load_library
from simulator.voters import Properties, cast_votes, expected_votes, score

FIGURES = Path(__file__).resolve().parents[2] / "shared" / "facts" / "votes.json"

CLEAR = Properties(salience=5, regularity=0.97, prevalence=1, rate=1.0, evolution=0, sharpness=0.9, laterality=0.95)
CASES = {
    "LPD": (CLEAR, 1),
    "GPD": (replace(CLEAR, laterality=0.1), 2),
    "LRDA": (replace(CLEAR, sharpness=0.1, rate=1.6), 3),
    "GRDA": (replace(CLEAR, sharpness=0.1, laterality=0.1, rate=1.6), 4),
    "seizure by rate": (replace(CLEAR, rate=3.6), 0),
    "seizure by evolution": (replace(CLEAR, rate=2.0, evolution=0.9), 0),
    "faint": (replace(CLEAR, salience=0.2), 5),
    "irregular": (replace(CLEAR, regularity=0.2), 5),
    "brief": (replace(CLEAR, prevalence=0.2), 5),
}


@pytest.mark.parametrize("name", CASES)
def test_clear_patterns_get_their_name(name):
    properties, wanted = CASES[name]
    for panel in (True, False):
        assert expected_votes(score(properties), panel)[wanted] > 0.8


def test_a_property_at_the_threshold_splits_the_raters():
    p = expected_votes(score(replace(CLEAR, laterality=0.5)), panel=False)
    assert abs(p[1] - p[2]) < 0.15
    assert p[1] + p[2] > 0.9


def test_a_plan_has_the_scores_it_was_made_for():
    rng = np.random.default_rng(3)
    for wanted in np.concatenate([draw_events(rng, name, 200).scores for name in ("many", "few")]):
        got = score(draw_plan(rng, wanted).properties)
        free = (np.abs(wanted) > 2.9) | (np.abs(got) > 6)
        free[2:] |= wanted[1] > SURE_SEIZURE  # whether a sure seizure is periodic or lateralised nobody is asked
        assert np.all((np.abs(got - wanted) < 0.4) | free | (np.sign(got) == np.sign(wanted)) & (np.abs(got) > 2.5))


def test_sure_seizures_are_of_every_kind():
    rng = np.random.default_rng(8)
    plans = [draw_plan(rng, np.array([5.0, 5.0, -2.0, 2.0])) for _ in range(600)]
    assert {p.kind for p in plans} == set(SEIZURES)
    assert 0.3 < np.mean([p.properties.laterality < 0.35 for p in plans]) < 0.6
    rates, salience, unrest = np.array([(p.properties.rate, p.properties.salience, p.unrest) for p in plans]).T
    assert 0.65 < np.mean((rates > 1.5) & (rates < 4)) < 0.85
    assert np.quantile(salience, 0.9) > 3 * np.quantile(salience, 0.1)
    assert np.quantile(unrest, 0.1) < 0.1
    assert np.quantile(unrest, 0.9) > 0.35
    slow = [p for p in plans if p.kind == "polyspikes"]
    assert all(p.properties.rate < 2 for p in slow)
    for p in plans:
        assert expected_votes(score(p.properties), panel=False)[0] > 0.9


@pytest.mark.parametrize("population", ["few", "many"])
def test_votes_have_the_published_statistics(population, capsys):
    """Print how many figures are within a tenth of the published ones, over all events of the library; all must be."""
    if not FIGURES.exists():
        pytest.skip(f"{FIGURES} is not here: the published figures cannot be compared")
    rng = np.random.default_rng(5)
    library = load_library(population)
    scores = np.tile(library.scores, (9, 1))
    scores += rng.normal(0, JITTER, scores.shape)
    votes = cast_votes(scores, library.raters[np.tile(np.arange(len(library.scores)), 9)], population == "few")
    table = compare_figures(read_figures(FIGURES, population), describe_votes(votes))
    far = [row for row in table if abs(row[2] - row[1]) > 0.1 * row[1]]
    with capsys.disabled():
        print(f"\n{population} votes: {len(table) - len(far)} of {len(table)} figures within a tenth; beyond it:")
        for name, real, simulated in far:
            print(f"  {name}: real {real:.4f}, simulated {simulated:.4f}")
    assert not far


def test_votes_of_rendered_windows_follow_the_population():
    windows = [simulate_window(21, i, population="many") for i in range(150)]
    expected = np.array([w.truth["expected"] for w in windows])
    shares = np.array([w.votes / w.votes.sum() for w in windows])
    assert np.abs(shares.mean(axis=0) - expected.mean(axis=0)).max() < 0.03
    assert np.abs(expected.mean(axis=0) - PRIOR).max() < 0.12
    assert all(10 <= w.votes.sum() <= 28 for w in windows)
