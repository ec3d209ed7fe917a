"""Runs a pushed file as Kaggle would: its paths, read-only input, no network. Publishes nothing."""
