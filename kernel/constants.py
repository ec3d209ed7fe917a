"""What the competition fixes: electrodes, votes in order, sampling frequency, window lengths. Used by every room."""

ELECTRODES = (
    *("Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1"),
    *("Fz", "Cz", "Pz"),
    *("Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2"),
    "EKG",
)
"""The 20 columns of a recording, in the order of the competition's files; microvolts."""

EEG_ELECTRODES = ELECTRODES[:-1]
"""The 19 electrodes on the scalp (10-20 system): all columns but the electrocardiogram."""

VOTES = ("seizure_vote", "lpd_vote", "gpd_vote", "lrda_vote", "grda_vote", "other_vote")
"""The six classes in the order of `train.csv` and `submission.csv`."""

CLASS_NAMES = ("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")
"""The same classes as `expert_consensus` spells them."""

SFREQ = 200
"""Sampling frequency of every recording, in hertz."""

WINDOW_SECONDS = 50
WINDOW_SAMPLES = WINDOW_SECONDS * SFREQ
"""What a network sees: 50 s, 10,000 samples."""

LABEL_SECONDS = (20, 30)
"""The part of a window that the experts labelled: its central 10 s."""

PRIOR = (0.0521, 0.1774, 0.2031, 0.1313, 0.1284, 0.3077)
"""Mean soft label of the training rows with at least 10 votes, rounded so that it sums to 1: the answer for a recording
that nothing can be read from."""

COMPETITION = "hms-harmful-brain-activity-classification"
"""The competition's slug on Kaggle."""
