"""Kaggle's service: signing in, calls, faults, answers. Nothing above this folder knows how anything travels."""
