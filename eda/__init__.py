"""The report on a training set: what a competitor wants to see before training."""
