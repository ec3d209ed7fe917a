"""Inputs of labelled windows, computed once: the folder, its shards, how it is built, on one machine or a cluster."""
