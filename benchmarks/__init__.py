"""Speed and memory against the real alternatives, in one run, as ratios."""
