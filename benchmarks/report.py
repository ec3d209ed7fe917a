"""The report's time and memory on a train.csv of the competition's size, without signals: 20 s and 1 GB are the bound.

`python -m benchmarks.report` (part of `make bench`). The table is drawn to the published figures of the real one: rows,
recordings, patients, rows per recording, votes per row, shares of the classes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import CLASS_NAMES, VOTES

BUILD = Path(__file__).resolve().parents[1] / "build.py"
ROWS, RECORDINGS, SPECTROGRAMS, PATIENTS = 106_800, 17_089, 11_138, 1_950
BOUND_SECONDS, BOUND_MB = 20, 1000

FEW = np.array([0.3042, 0.1109, 0.0991, 0.1557, 0.2016, 0.1285])
MANY = np.array([0.0149, 0.1863, 0.2523, 0.1560, 0.1348, 0.2558])
"""Share of the rows with each class on top, among rows with under 10 votes and with 10 or more."""

SHARE_MANY = 39_946 / 106_800


def draw_train_table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Draw a train.csv with the real one's numbers of rows, recordings, spectrograms and patients, scaled to `rows`."""
    rng = np.random.default_rng(seed)
    scale = rows / ROWS
    recordings, spectrograms, patients = (max(1, round(n * scale)) for n in (RECORDINGS, SPECTROGRAMS, PATIENTS))
    # A log-normal has the real table's median of 3 rows, 1% above 50, and single recordings with hundreds.
    sizes = np.maximum(1, np.round(rng.lognormal(1.05, 1.2, recordings))).astype(int)
    sizes = np.maximum(1, np.round(sizes * rows / sizes.sum())).astype(int)
    while (missing := rows - sizes.sum()) != 0:
        chosen = rng.choice(recordings, min(abs(missing), recordings), replace=False)
        sizes[chosen] = np.maximum(1, sizes[chosen] + np.sign(missing))
    weights = rng.lognormal(0, 1.5, patients)
    others = rng.choice(patients, recordings - patients, p=weights / weights.sum())
    owners = np.concatenate([np.arange(patients), others])
    spectrogram = np.concatenate([np.arange(spectrograms), rng.integers(0, spectrograms, recordings - spectrograms)])
    eeg = np.repeat(np.arange(recordings), sizes)
    sub = np.concatenate([np.arange(n) for n in sizes])
    many = (rng.random(recordings) < SHARE_MANY)[eeg]
    top_many, top_few = (rng.choice(6, recordings, p=shares / shares.sum())[eeg] for shares in (MANY, FEW))
    agreement = np.where(many, 0.68, 0.88)
    chances = np.repeat(((1 - agreement) / 5)[:, None], 6, axis=1)
    chances[np.arange(rows), np.where(many, top_many, top_few)] = agreement
    votes = rng.multinomial(np.where(many, rng.integers(10, 18, rows), 3), chances)
    frame = pd.DataFrame(
        {
            "eeg_id": 100_000 + 37 * eeg,
            "eeg_sub_id": sub,
            "eeg_label_offset_seconds": 2.0 * sub,
            "spectrogram_id": 500_000 + 11 * spectrogram[eeg],
            "spectrogram_sub_id": sub,
            "spectrogram_label_offset_seconds": 2.0 * sub,
            "label_id": np.arange(rows) + 1_000_000,
            "patient_id": owners[eeg],
            "expert_consensus": np.array(CLASS_NAMES)[votes.argmax(axis=1)],
        }
    )
    frame[list(VOTES)] = votes
    return frame


def main() -> int:
    """Run `build.py eda` on such a table; print time and peak memory, and return 1 where a bound is missed."""
    with tempfile.TemporaryDirectory() as folder:
        draw_train_table().to_csv(Path(folder) / "train.csv", index=False)
        command = [sys.executable, str(BUILD), "eda", "--data", folder, "--out", f"{folder}/report.html"]
        before = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - before
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    cost = f"{seconds:.1f} s of {BOUND_SECONDS}, {megabytes:.0f} MB of {BOUND_MB}"
    print(f"report on {ROWS:,} rows, no signals: {cost}")
    return int(seconds > BOUND_SECONDS or megabytes > BOUND_MB)


if __name__ == "__main__":
    sys.exit(main())
