"""The competition's tables: read by one rule, refused by file, column and line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kernel.constants import VOTES
from kernel.recording import cut_window, place_window
from kernel.table import COLUMNS, read_ids, read_rows, read_votes, to_sample


def write_rows(folder: Path, **changes: list[object]) -> Path:
    """Write a train.csv of two rows with some columns changed."""
    rows = {"eeg_id": [7, 7], "patient_id": [1, 1], "eeg_label_offset_seconds": [0.0, 2.3], "expert_consensus": "x"}
    pd.DataFrame({**rows, **dict.fromkeys(VOTES, 2), **changes}).to_csv(folder / "train.csv", index=False)
    return folder


def test_rows_have_their_first_sample_and_their_number_of_votes(tmp_path):
    rows = read_rows(write_rows(tmp_path))
    assert rows["start"].tolist() == [0, 460]
    assert rows["n_votes"].tolist() == [12, 12]
    assert rows["expert_consensus"].tolist() == ["x", "x"]
    assert {rows[name].dtype for name in ("eeg_id", "patient_id", "start", "n_votes", *VOTES)} == {np.dtype("int64")}


@pytest.mark.parametrize(("seconds", "sample"), [(0, 0), (2.3, 460), (4.35, 870), (0.0049, 1), (20, 4000)])
def test_an_offset_becomes_the_nearest_sample(seconds, sample):
    assert to_sample(seconds) == sample


@pytest.mark.parametrize(
    ("start", "n_samples", "placed"),
    [(0, 12_000, 0), (400, 12_000, 400), (2_000, 12_000, 2_000), (4_000, 12_000, 2_000), (460, 10_000, 0),
     (100, 6_000, 0), (None, 12_345, 1_172), (None, 6_000, 0)],
)  # fmt: skip
def test_a_window_lies_inside_a_recording_that_is_long_enough(start, n_samples, placed):
    assert place_window(start, n_samples) == placed
    window = cut_window(np.arange(n_samples)[None], start)
    assert window.shape == (1, min(n_samples, 10_000))
    assert window[0, 0] == placed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eeg_id": ["a", 7]}, "eeg_id in line 2 is a, expected a whole number"),
        ({"eeg_id": [7, 7.5]}, "eeg_id in line 3 is 7.5"),
        ({"patient_id": [1, None]}, "patient_id in line 3 is nan"),
        ({"eeg_label_offset_seconds": [0, "x"]}, "eeg_label_offset_seconds in line 3 is x, expected seconds"),
        ({"eeg_label_offset_seconds": [0, -2]}, "eeg_label_offset_seconds in line 3 is -2"),
        ({"lpd_vote": [1, -1]}, "lpd_vote in line 3 is -1, expected a count"),
        ({"lpd_vote": [1, 0.5]}, "lpd_vote in line 3 is 0.5"),
        ({"lpd_vote": [None, 1]}, "lpd_vote in line 2 is nan"),
        ({name: [1, 0] for name in VOTES}, "line 3 has no votes"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path, changes, said):
    with pytest.raises(ValueError, match=rf"{tmp_path}/train\.csv: {said}"):
        read_rows(write_rows(tmp_path, **changes))


def test_a_report_gets_incomplete_rows_too(tmp_path):
    votes = {name: [0, None] for name in VOTES}
    write_rows(tmp_path, eeg_id=[7, None], eeg_label_offset_seconds=[None, 2.3], **votes)
    rows = read_rows(tmp_path, ("expert_consensus",), complete=False)
    assert rows["start"].isna().tolist() == [True, False]
    assert rows["n_votes"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="lacks the column spectrogram_id"):
        read_rows(tmp_path, ("spectrogram_id",), complete=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; expected a table with eeg_id"),
        ("", "not a readable CSV file"),
        (",".join(COLUMNS) + "\n", "has no rows"),
        ("eeg_id,patient_id\n1,2\n", "lacks the column eeg_label_offset_seconds, seizure_vote"),
    ],
)
def test_an_unreadable_table_is_named(tmp_path, content, said):
    if content is not None:
        (tmp_path / "train.csv").write_text(content)
    with pytest.raises((FileNotFoundError, ValueError), match=rf"{tmp_path}/train\.csv: {said}"):
        read_rows(tmp_path)


def test_votes_are_shares_in_the_order_of_the_ids(tmp_path):
    table = pd.DataFrame(
        [[1, 3, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0, 4], [1, 0, 0, 0, 0, 0, 2]], columns=["eeg_id", *VOTES]
    )
    table.to_csv(tmp_path / "train.csv", index=False)
    votes = read_votes(tmp_path, np.array([2, 1]))
    assert votes is not None
    np.testing.assert_allclose(votes[list(VOTES)], [[0, 0, 0, 0, 0, 1], [0.5, 0, 0, 0, 0, 0.5]])
    assert read_votes(tmp_path, np.array([2, 3])) is None
    table.assign(**dict.fromkeys(VOTES, 0)).to_csv(tmp_path / "test_votes.csv", index=False)
    with pytest.raises(ValueError, match=r"test_votes\.csv: eeg_id 1 has no votes"):
        read_votes(tmp_path, np.array([1]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a readable CSV"),
        ("spectrogram_id,eeg_id,patient_id\n", "has no rows"),
        ("spectrogram_id,patient_id\n1,2\n", "lacks the column eeg_id"),
        ("eeg_id\n1\n2\n1\n", "eeg_id 1 appears twice"),
        ("eeg_id\n1\nx\n", "whole numbers"),
        ("eeg_id\n1\n\n2.5\n", "whole numbers"),
        ("a\n1,2\n3,4,5\n", "not a readable CSV"),
    ],
)
def test_a_bad_test_csv_is_named(tmp_path, content, message):
    path = tmp_path / "test.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        read_ids(path)


def test_a_missing_test_csv_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"test\.csv: no such file"):
        read_ids(tmp_path / "test.csv")
