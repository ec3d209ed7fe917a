"""Rehearses the bundle with the network cut, publishes it, follows the run to its score, and brings the output back."""
