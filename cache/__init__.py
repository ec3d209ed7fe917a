"""Labelled windows, prepared once: what is cached, its shards, how it is built, on one machine or a cluster."""
