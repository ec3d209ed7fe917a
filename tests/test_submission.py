import numpy as np
import pandas as pd
import pytest

from kernel.constants import VOTES
from kernel.submission import check_submission, read_submission, write_submission

IDS = np.array([3911565283, 7, 12])


def good() -> pd.DataFrame:
    table = pd.DataFrame(np.full((3, 6), 1 / 6), columns=list(VOTES))
    table.insert(0, "eeg_id", IDS)
    return table


def test_round_trip(tmp_path):
    shares = np.random.default_rng(0).dirichlet(np.ones(6), 3)
    write_submission(tmp_path / "submission.csv", IDS, shares)
    table = read_submission(tmp_path / "submission.csv", IDS)
    np.testing.assert_allclose(table[list(VOTES)], shares, rtol=1e-12)
    assert [path.name for path in tmp_path.iterdir()] == ["submission.csv"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.drop(columns="lpd_vote"), "columns must be"),
        (lambda t: t[["eeg_id", *reversed(VOTES)]], "columns must be"),
        (lambda t: t.iloc[:2], "2 rows for 3 recordings"),
        (lambda t: t.iloc[[0, 1, 2, 2]], "4 rows for 3 recordings"),
        (lambda t: t.iloc[[0, 2, 1]], "row 1 is eeg_id 12, expected 7"),
        (lambda t: t.assign(gpd_vote="1/6"), "gpd_vote must be numeric"),
        (lambda t: t.assign(gpd_vote=[1 / 6, np.nan, 1 / 6]), "eeg_id 7: gpd_vote is nan"),
        (lambda t: t.assign(gpd_vote=[1 / 6, 1 / 6, np.inf]), "eeg_id 12: gpd_vote is inf"),
        (lambda t: t.assign(gpd_vote=-0.1), "gpd_vote is -0.1, expected 0 to 1"),
        (lambda t: t.assign(gpd_vote=1.1), "gpd_vote is 1.1, expected 0 to 1"),
        (lambda t: t.assign(gpd_vote=[1 / 6, 1 / 6 + 2e-5, 1 / 6]), "eeg_id 7: the probabilities sum to 1.000020"),
    ],
)
def test_what_the_metric_would_reject_is_refused(damage, message):
    check_submission(good(), IDS)
    with pytest.raises(ValueError, match=message):
        check_submission(damage(good()), IDS)


def test_nothing_is_left_when_writing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sum to"):
        write_submission(tmp_path / "submission.csv", IDS, np.full((3, 6), 0.2))
    with pytest.raises(ValueError, match="shape"):
        write_submission(tmp_path / "submission.csv", IDS, np.full((2, 6), 1 / 6))
    assert not list(tmp_path.iterdir())
