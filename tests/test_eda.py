"""The report's figures, each against another way to get it, and its errors."""

import errno
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

import build
from benchmarks.report import draw_train_table
from eda.rows import (
    ALL,
    CASES,
    CLASSES,
    FEW,
    MANY,
    count_missing,
    derive,
    list_files,
    read_windows,
    sort_cases,
    split_populations,
)
from eda.shape import (
    FOLDS,
    count_all,
    describe_sizes,
    leak,
    measure_covered,
    measure_recorded,
    measure_recordings,
    measure_steps,
)
from eda.signals import (
    EXPONENT_HZ,
    choose_sample,
    find_flat,
    find_saturated,
    list_recordings_to_leave_out,
    measure_recording,
    place_gaps,
)
from eda.style import CLASS_COLOURS, PAIR, RAMP, percent
from eda.votes import (
    COLOURS,
    count_cases,
    count_not_on_top,
    count_pairs,
    score_constant,
    share_consensus,
    share_together,
    share_unanimous,
)
from kernel.constants import CLASS_NAMES, EEG_ELECTRODES, SFREQ, VOTES
from tests.conftest import make_eeg, write_recording
from training.metric import kl_per_row


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("table")
    draw_train_table(4000, seed=1).to_csv(folder / "train.csv", index=False)
    return read_windows(folder)


def make_rows(*votes: tuple[int, ...], **columns) -> pd.DataFrame:
    """Rows with the given votes, each of its own recording and patient unless `columns` says otherwise."""
    number = np.arange(len(votes))
    frame = pd.DataFrame(np.array(votes), columns=list(VOTES))
    frame["expert_consensus"] = np.array(CLASS_NAMES)[frame[list(VOTES)].to_numpy().argmax(axis=1)]
    for name, values in {
        "eeg_id": number,
        "patient_id": number,
        "spectrogram_id": number,
        "eeg_label_offset_seconds": 0.0,
    }.items():
        frame[name] = columns.get(name, values)
    return derive(frame)


# Votes


def test_table_for_the_benchmark_has_the_real_ones_shape():
    table = draw_train_table()
    found = (len(table), *(table[name].nunique() for name in ("eeg_id", "spectrogram_id", "patient_id")))
    assert found == (106_800, 17_089, 11_138, 1_950)
    assert abs((table[list(VOTES)].sum(axis=1) >= 10).mean() - 39_946 / 106_800) < 0.02


def test_populations_agree_with_loops_over_rows(rows):
    populations = split_populations(rows)
    for name, chosen in ((FEW, rows.n_votes < 10), (MANY, rows.n_votes >= 10), (ALL, rows.n_votes > 0)):
        share = [np.array(v) / sum(v) for v in rows.loc[chosen, list(VOTES)].to_numpy().tolist()]
        population = populations[name]
        assert len(population) == len(share)
        for c in range(6):
            own = [s for s in share if list(s).index(max(s)) == c]
            assert share_consensus(population).iloc[c] == pytest.approx(len(own) / len(share))
            np.testing.assert_allclose(share_together(population).iloc[c], np.mean(own, axis=0))
            assert share_unanimous(population).iloc[c] == pytest.approx(np.mean([max(s) == 1 for s in own]))
        entropies = [-sum(p * np.log(p) for p in s if p) for s in share]
        np.testing.assert_allclose(population.entropy, entropies, atol=1e-12)


def test_consensus_of_recordings_and_patients_sums_their_votes(rows):
    for name in ("eeg_id", "patient_id"):
        counts = np.zeros(6)
        for _, group in rows.groupby(name):
            counts[group[list(VOTES)].to_numpy().sum(axis=0).argmax()] += 1
        np.testing.assert_allclose(share_consensus(rows, name), counts / counts.sum())


def test_constant_predictions_are_scored_as_the_competition_does(rows):
    share = rows[CLASSES].to_numpy()
    for prediction in (np.full(6, 1 / 6), share.mean(axis=0)):
        expected = kl_per_row(share, np.tile(prediction, (len(share), 1))).mean()
        assert score_constant(rows, prediction) == pytest.approx(expected)


def test_consensus_that_the_votes_do_not_have_is_counted():
    rows = make_rows((3, 0, 0, 0, 0, 0), (2, 2, 0, 0, 0, 0), (0, 0, 0, 0, 0, 5))
    rows["expert_consensus"] = ["LPD", "LPD", "Other"]  # the second is a tie, which either class may name
    assert count_not_on_top(rows) == 1


# Cases


def sort_by_hand(votes: list[int], ideal: float, least: float) -> str:
    """The host's definitions, in whole numbers so that nothing is rounded."""
    total = sum(votes)
    half = [c for c, n in enumerate(votes) if 100 * n >= round(100 * least) * total]
    if 100 * max(votes) > round(100 * ideal) * total:
        return "ideal"
    if len(half) == 2:
        return "proto" if 5 in half else "edge"
    return "mixed"


@pytest.mark.parametrize(("ideal", "half"), [(0.9, 0.45), (0.8, 0.4), (0.75, 0.5)])
def test_cases_agree_with_whole_numbers(ideal, half):
    rng = np.random.default_rng(0)
    votes = [rng.multinomial(n, p).tolist() for n in range(1, 29) for p in rng.dirichlet(np.full(6, 0.25), 60)]
    # Exactly on the thresholds: 9 and 9 of 20, 18 and 2 of 20.
    votes += [[9, 9, 2, 0, 0, 0], [9, 0, 2, 0, 0, 9], [18, 2, 0, 0, 0, 0], [19, 1, 0, 0, 0, 0]]
    cases = sort_cases(make_rows(*votes), ideal, half)
    expected = [sort_by_hand(v, ideal, half) for v in votes]
    assert cases.case.tolist() == expected
    assert set(expected) == set(CASES)
    pairs = count_pairs(cases)
    assert np.nansum(pairs) == sum(case in ("proto", "edge") for case in expected)
    assert pairs.loc["Other"].sum() == expected.count("proto")


def test_cases_compare_shares_not_counts():
    """One vote for "other" among ten is more than 0.45, but no half."""
    cases = sort_cases(make_rows((9, 0, 0, 0, 0, 1), (5, 0, 0, 0, 0, 5)), 0.9, 0.45)
    assert cases.case.tolist() == ["mixed", "proto"]


def test_rows_without_votes_are_no_case():
    cases = sort_cases(make_rows((0, 0, 0, 0, 0, 0), (3, 0, 0, 0, 0, 0)), 0.9, 0.45)
    assert count_cases(cases).tolist() == [1, 0, 0, 0]


# Shape


def test_shape_agrees_with_loops(rows):
    recordings = measure_recordings(rows, {})
    covered, steps = 0, []
    for _, group in rows.groupby("eeg_id"):
        starts = sorted(group.eeg_label_offset_seconds)
        covered += len({second for start in starts for second in range(int(start), int(start) + 50)})
        steps += np.diff(starts).tolist()
        assert recordings.rows[group.eeg_id.iloc[0]] == len(starts)
        assert recordings.patients[group.eeg_id.iloc[0]] == len(set(group.patient_id))
    assert measure_covered(rows, recordings) == covered
    assert sorted(measure_steps(rows)) == sorted(steps)
    assert recordings.rows.sum() == len(rows)


def test_leak_agrees_with_dealing_out():
    groups = pd.Series(np.repeat(np.arange(30), np.arange(30) % 4 + 1))
    rng = np.random.default_rng(0)
    together = groups.to_numpy()[:, None] == groups.to_numpy()
    folds = rng.integers(0, FOLDS, (400, len(groups)))
    shares_leaked = [(together & (fold[:, None] != fold)).any(axis=1).mean() for fold in folds]
    assert leak(groups) == pytest.approx(np.mean(shares_leaked), abs=0.01)


def test_odd_rows_are_found():
    rows = make_rows(*[(3, 0, 0, 0, 0, 0)] * 4, eeg_id=[1, 1, 1, 2], patient_id=[1, 1, 2, 3],
                     eeg_label_offset_seconds=[0.0, 0.0, 6.0, 0.0])  # fmt: skip
    recordings = measure_recordings(rows, {})
    assert count_all(rows, recordings)["rows with the same recording and offset as another"] == 1
    assert recordings.patients.tolist() == [2, 1]
    assert recordings.end.tolist() == [56, 50]


def test_short_recordings_and_windows_past_the_end_are_counted(tmp_path):
    """One of 10 s, one of 60 s with a window from 20 s, one that is long enough; hours are those that are there."""
    (tmp_path / "train_eegs").mkdir()
    for eeg_id, seconds in ((1, 10), (2, 60), (3, 80)):
        write_recording(tmp_path / "train_eegs" / f"{eeg_id}.parquet", make_eeg(seconds * SFREQ))
    rows = make_rows(*[(3, 0, 0, 0, 0, 0)] * 4, eeg_id=[1, 2, 3, 3], eeg_label_offset_seconds=[0.0, 20.0, 0.0, 20.0])
    recordings = measure_recordings(rows, list_files(tmp_path, rows))
    assert recordings.short.tolist() == [True, False, False]
    assert recordings.past_end.tolist() == [True, True, False]
    assert measure_covered(rows, recordings) == 10 + 50 + 70
    assert measure_recorded(recordings) == 150
    counts = count_all(rows, recordings)
    assert counts["recordings shorter than 50 s"] == 1
    assert counts["recordings whose window reaches past their end"] == 2
    assert list_recordings_to_leave_out(recordings, pd.DataFrame()).index.tolist() == [2]


@pytest.mark.parametrize(("patients", "words"), [(23, "the largest of the 23 patients"), (300, "the largest 1% (3)")])
def test_largest_groups_are_called_what_they_are(patients, words):
    assert words in describe_sizes(pd.Series([1] * patients), "patient", "recording")


def test_unreadable_file_is_named_whatever_the_library_says(tmp_path, monkeypatch):
    (tmp_path / "7.parquet").write_bytes(b"")
    files = {7: tmp_path / "7.parquet"}
    error = measure_recordings(GOOD, files).error[7]
    assert error.startswith(f"{files[7]}: not a readable parquet file")
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", Mock(side_effect=OSError()))
    assert "not a readable parquet file (OSError)" in measure_recordings(GOOD, files).error[7]


# Signals


def test_gaps_are_placed():
    electrodes = np.ones((19, 1000), np.float32)
    electrodes[0, :100] = np.nan
    electrodes[1, 500:550] = np.nan
    electrodes[2, 800:] = np.nan
    electrodes[3] = np.nan
    gaps = place_gaps(electrodes)
    np.testing.assert_allclose(gaps[:, :3], np.diag([0.1, 0.05, 0.2]))
    assert gaps[:, 3].sum() == 1
    assert gaps[:, 4:].sum() == 0


def test_flat_and_saturated_electrodes_are_told_apart():
    window = make_eeg()[:19]
    window[0], window[1] = 7.0, np.nan
    window[2] = np.clip(window[2], -20, 20)
    assert np.flatnonzero(find_flat(window)).tolist() == [0]
    assert np.flatnonzero(find_saturated(window)).tolist() == [2]


@pytest.mark.parametrize("hertz", [50, 60])
def test_line_noise_is_measured_in_microvolts(hertz):
    eeg = make_eeg()[:19]
    times = np.arange(eeg.shape[1]) / SFREQ
    clean, _, _ = measure_recording(eeg, 0)
    amplitudes = np.zeros((19, 1))  # every second electrode of a chain, so that no channel loses the line
    amplitudes[[EEG_ELECTRODES.index(n) for n in ("F7", "T5", "F3", "P3", "F8", "T6", "F4", "P4", "Cz")]] = 12
    noisy, _, _ = measure_recording((eeg + amplitudes * np.sin(2 * np.pi * hertz * times)).astype("f4"), 0)
    assert clean["line"] < 0.5
    assert noisy["line"] == pytest.approx(12 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_exponent_of_a_power_law_is_found(exponent):
    rng = np.random.default_rng(0)
    freqs = np.fft.rfftfreq(40_000, 1 / SFREQ)
    spectrum = rng.standard_normal((19, len(freqs), 2)) @ [1, 1j] / np.maximum(freqs, 0.2) ** (exponent / 2)
    eeg = np.fft.irfft(spectrum, axis=1)[:, :10_000]
    row, _, log_power = measure_recording((30 * eeg / eeg.std()).astype("f4"), 0)
    assert row["exponent"] == pytest.approx(exponent, abs=0.12)
    assert np.isfinite(log_power).all()
    assert EXPONENT_HZ == (2.0, 40.0)


def test_dead_recording_has_no_spectrum():
    row, _, log_power = measure_recording(np.full((19, 10_000), np.nan, "f4"), 0)
    assert np.isnan(log_power).all()
    assert row["flat"] == 0
    assert row["nan_start"] + row["nan_inside"] + row["nan_end"] == 1
    assert np.isnan(row["amplitude"])


def test_sample_is_even_over_the_classes_and_takes_the_most_voted_window(rows):
    files = dict.fromkeys(rows.eeg_id.unique())
    sample = choose_sample(rows, files, 60)
    assert sample.eeg_id.is_unique
    assert sample.consensus.value_counts().tolist() == [10] * 6
    most = rows.groupby("eeg_id").n_votes.max()
    assert (sample.n_votes.to_numpy() == most[sample.eeg_id].to_numpy()).all()
    assert len(choose_sample(rows, files, 10**6)) == rows.eeg_id.nunique()


# Colours and numbers


SIGHTS = {
    "normal": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "no colour": [[0.2126, 0.7152, 0.0722]] * 3,
}
"""What is seen of linear RGB: Machado, Oliveira and Fernandes (2009), severity 1, and a grey printer."""


def to_lab(colours: list[str], sight: str) -> np.ndarray:
    """CIELAB, shape (n, 3), of colours as `sight` sees them."""
    srgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    seen = np.clip(linear @ np.transpose(SIGHTS[sight]), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = seen @ to_xyz.T / [0.9505, 1, 1.089]
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("colours", [list(CLASS_COLOURS.values()), RAMP, PAIR, list(COLOURS.values())], ids=str)
def test_colours_can_be_told_apart_by_everyone_and_in_grey(colours, sight):
    """Least distance in CIELAB: 20 is plain beside each other, 9 levels of lightness are as far as six greys allow."""
    lab = to_lab(colours, sight)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1000 * np.eye(len(lab))
    assert distance.min() > (9 if sight == "no colour" else 20), np.unravel_index(distance.argmin(), distance.shape)


def test_simulated_sight_is_right():
    """Red and green that confuse without green cones, and the palette before this one: LPD and LRDA were one grey."""
    assert np.linalg.norm(np.subtract(*to_lab(["#B46A2C", "#83823C"], "no green cones"))) < 12
    assert np.linalg.norm(np.subtract(*to_lab(["#0072B2", "#00795A"], "no colour"))) < 2
    assert np.linalg.norm(np.subtract(*to_lab(["#0072B2", "#00795A"], "normal"))) > 20


def test_small_shares_are_not_none():
    assert [percent(s) for s in (0, 0.0004, 0.05, 0.42, 0.9996, 1)] == ["0%", "<0.1%", "5.0%", "42%", ">99.9%", "100%"]


# Errors, through the command line


def write_report(folder: Path, *options: str, out: Path | None = None) -> int:
    return build.main(["eda", "--data", str(folder), "--out", str(out or folder / "r.html"), *options])


GOOD = make_rows((3, 0, 0, 0, 0, 0), (0, 0, 12, 0, 0, 1))


def spoil(folder, **columns):
    GOOD.assign(**columns).to_csv(folder / "train.csv", index=False)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: None, ["train.csv", "no such file"]),
        (lambda f: (f / "train.csv").write_bytes(bytes(range(256)) * 20), ["train.csv", "not a readable CSV"]),
        (lambda f: (f / "train.csv").write_text(""), ["train.csv", "not a readable CSV"]),
        (lambda f: GOOD.iloc[:0].to_csv(f / "train.csv", index=False), ["train.csv", "no rows"]),
        (
            lambda f: GOOD.drop(columns=["lpd_vote", "patient_id"]).to_csv(f / "train.csv"),
            ["patient_id, lpd_vote", "lacks"],
        ),
        (lambda f: spoil(f, gpd_vote=[0, -1]), ["gpd_vote", "line 3", "-1", "a count of votes"]),
        (lambda f: spoil(f, gpd_vote=[0.5, 1]), ["gpd_vote", "line 2", "0.5", "a count of votes"]),
        (lambda f: spoil(f, lpd_vote=["two", 1]), ["lpd_vote", "line 2", "two", "a count of votes"]),
        (lambda f: spoil(f, eeg_id=["a", 1]), ["eeg_id", "line 2", "whole number"]),
        (lambda f: spoil(f, eeg_label_offset_seconds=[0, -4.0]), ["eeg_label_offset_seconds", "line 3", "-4"]),
        (lambda f: spoil(f, **dict.fromkeys(VOTES, 0)), ["train.csv", "no row has a vote"]),
    ],
)
def test_bad_tables_get_one_clear_line(make, words, tmp_path, capsys):
    make(tmp_path)
    assert write_report(tmp_path) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert all(word in said for word in words), said
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--ideal", "0.3"], "ideal"),
        (["--half", "0.6"], "half"),
        (["--sample", "-1"], "negative"),
        (["--data", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_arguments_get_one_clear_line(arguments, word, tmp_path, capsys):
    spoil(tmp_path)
    assert write_report(tmp_path, *arguments) == 1
    assert word in capsys.readouterr().err


def test_a_folder_is_no_page(tmp_path, capsys):
    spoil(tmp_path)
    assert write_report(tmp_path, out=tmp_path) == 1
    assert "is a folder" in capsys.readouterr().err


def test_missing_values_are_reported_not_refused(tmp_path):
    spoil(tmp_path, gpd_vote=[np.nan, 12], patient_id=[np.nan, 1])
    rows = read_windows(tmp_path)
    assert rows.n_votes.tolist() == [3, 13]
    missing = count_missing(rows)
    assert missing[missing > 0].to_dict() == {"gpd_vote": 1, "patient_id": 1}


# The table alone


@pytest.fixture(scope="module")
def table_alone(tmp_path_factory):
    """A folder with a table of 1,000 rows, and the report on it."""
    folder = tmp_path_factory.mktemp("table_alone")
    draw_train_table(1000).to_csv(folder / "train.csv", index=False)
    assert write_report(folder, "--ideal", "0.8", out=folder / "report.html") == 0
    return folder


def test_report_on_a_table_alone_says_what_it_leaves_out(table_alone):
    page, folder = (table_alone / "report.html").read_text(), table_alone / "report_files"
    assert "are left out" in page
    assert "one class has more than 80%" in page
    assert "Split by patient" in page
    assert json.loads((folder / "config.json").read_text())["ideal"] == 0.8
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {"windows_per_recording", "consensus", "co_vote", "correlation", "entropy", "cases_by_population"} <= figures
    table = pd.read_csv(folder / "tables" / "cases_by_population.csv", index_col="rows")
    rows = read_windows(table_alone)
    assert table.loc[ALL, "ideal"] == (rows.top_share > 0.8).sum()
    assert page.count("<img") == len(figures)
    assert "recordings_to_leave_out" in {path.stem for path in (folder / "tables").glob("*.csv")}
    assert list_recordings_to_leave_out(measure_recordings(rows, {}), pd.DataFrame()).empty


def test_same_data_same_page(table_alone, tmp_path):
    """Another run writes the same bytes, and removes what an earlier report had and this one has not."""
    old = tmp_path / "report_files" / "tables" / "old.csv"
    old.parent.mkdir(parents=True)
    old.write_text("left by an earlier version")
    assert write_report(table_alone, "--ideal", "0.8", out=tmp_path / "report.html") == 0
    assert (tmp_path / "report.html").read_bytes() == (table_alone / "report.html").read_bytes()
    assert not old.exists()


def test_full_disk_is_one_line_and_keeps_the_earlier_page(tmp_path, capsys, monkeypatch):
    draw_train_table(300).to_csv(tmp_path / "train.csv", index=False)
    out = tmp_path / "r.html"
    out.write_text("the earlier page")
    write = Path.write_bytes

    def fill(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    monkeypatch.setattr("eda.content.Content.draw", Mock())  # pictures take time and are not what fails
    assert write_report(tmp_path) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "no space left" in said[0]
    assert str(tmp_path / "r_files") in said[0]
    assert out.read_text() == "the earlier page"
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [out, tmp_path / "train.csv"]


def test_stopped_promises_no_more_than_it_keeps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eda.report.read_windows", Mock(side_effect=KeyboardInterrupt))
    assert write_report(tmp_path) == 130
    assert "the same command starts over" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
