"""Builds the bundle: code, cache logic, weights and wheels, with a manifest of hashes, in `dist/dataset`."""
