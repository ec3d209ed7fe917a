"""The competition's metric against an independent reading of its rules, and everything it refuses."""

import math

import numpy as np
import pandas as pd
import pytest

from kernel.constants import VOTES
from training.metric import competition_score, kl_per_row


def table(values, ids=None):
    values = np.asarray(values, np.float64)
    ids = range(100, 100 + len(values)) if ids is None else ids
    return pd.DataFrame({"eeg_id": list(ids), **{vote: values[:, c] for c, vote in enumerate(VOTES)}})


@pytest.fixture
def shares():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(12, np.full(6, 1 / 6), size=40)
    return counts / counts.sum(axis=1, keepdims=True)


@pytest.fixture
def predictions():
    return np.random.default_rng(1).dirichlet(np.full(6, 0.3), size=40)


def by_hand(y, p):
    total = 0.0
    for i in range(len(y)):
        for c in range(6):
            if y[i][c] != 0:
                total += y[i][c] * math.log(y[i][c] / min(max(p[i][c], 1e-15), 1 - 1e-15))
    return total / len(y)


def test_score_agrees_with_the_rules_written_as_loops(shares, predictions):
    assert competition_score(table(shares), table(predictions)) == pytest.approx(
        by_hand(shares, predictions), rel=1e-13
    )


def test_perfect_uniform_and_certain_answers(shares):
    assert competition_score(table(shares), table(shares)) == pytest.approx(0, abs=1e-13)
    one_hot = np.eye(6)
    uniform = np.full((6, 6), 1 / 6)
    assert competition_score(table(one_hot), table(uniform)) == pytest.approx(math.log(6))
    # A certain wrong answer costs -ln(1e-15), not infinity; a certain right one the clip's 1e-15.
    assert competition_score(table(one_hot), table(np.roll(one_hot, 1, axis=1))) == pytest.approx(15 * math.log(10))
    assert 0 < competition_score(table(one_hot), table(one_hot)) < 2e-15


def test_clipping_does_not_normalise_again():
    y, p = np.array([[0.5, 0.5, 0, 0, 0, 0]]), np.array([[1.0, 0, 0, 0, 0, 0]])
    expected = 0.5 * math.log(0.5 / (1 - 1e-15)) + 0.5 * math.log(0.5 / 1e-15)
    assert kl_per_row(y, p)[0] == pytest.approx(expected, rel=1e-14)


def test_rows_are_aligned_by_id_and_columns_by_name(shares, predictions):
    solution, submission = table(shares), table(predictions)
    shuffled = submission.sample(frac=1, random_state=3)[["other_vote", *VOTES[:-1], "eeg_id"]]
    assert competition_score(solution, shuffled) == competition_score(solution, submission)


def test_row_sums_are_held_to_numpys_tolerance(shares):
    p = np.full((1, 6), 1 / 6)
    solution = table(shares[:1])
    for excess, accepted in ((0.99e-5, True), (1.02e-5, False), (-1.02e-5, False)):
        submission = table(p + np.eye(6)[0] * excess)
        if accepted:
            competition_score(solution, submission)
        else:
            with pytest.raises(ValueError, match="do not sum to 1"):
                competition_score(solution, submission)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="lpd_vote"), "lacks the columns lpd_vote"),
        (lambda t: t.drop(columns="eeg_id"), "lacks the columns eeg_id"),
        (lambda t: t.assign(gpd_vote="0.1"), "gpd_vote is not numeric"),
        (lambda t: t.assign(gpd_vote=np.nan), "NaN or an infinity"),
        (lambda t: t.assign(gpd_vote=np.inf), "NaN or an infinity"),
        (lambda t: t.assign(gpd_vote=-0.1), "below 0"),
        (lambda t: t.assign(gpd_vote=1.1), "above 1"),
        (lambda t: t.iloc[1:], "lacks 1 ids"),
        (lambda t: t.assign(eeg_id=t.eeg_id + 1), "first lacking 100"),
        (lambda t: t.assign(eeg_id=7), "7 appears more than once"),
        (lambda t: pd.concat([t, t.iloc[:1].assign(eeg_id=9)]), "first not asked for 9"),
    ],
)
def test_what_the_competition_refuses_is_refused(shares, predictions, change, message):
    with pytest.raises(ValueError, match=f"submission.*{message}"):
        competition_score(table(shares), change(table(predictions)))


def test_a_bad_solution_is_named_as_such(shares, predictions):
    with pytest.raises(ValueError, match="solution"):
        competition_score(table(shares * 2), table(predictions))
    with pytest.raises(ValueError, match="at least one row"):
        competition_score(table(shares[:0]), table(predictions[:0]))


def test_the_id_column_may_have_another_name(shares, predictions):
    solution, submission = (t.rename(columns={"eeg_id": "row"}) for t in (table(shares), table(predictions)))
    assert competition_score(solution, submission, "row") == competition_score(table(shares), table(predictions))


def test_arrays_of_other_shapes_or_with_nan_are_refused(shares, predictions):
    with pytest.raises(ValueError, match="one shape"):
        kl_per_row(shares, predictions[:3])
    with pytest.raises(ValueError, match="NaN"):
        kl_per_row(shares, predictions * np.nan)


def test_the_tables_are_left_as_they_were(shares, predictions):
    solution, submission = table(shares), table(predictions)
    competition_score(solution, submission)
    pd.testing.assert_frame_equal(solution, table(shares))
    pd.testing.assert_frame_equal(submission, table(predictions))
