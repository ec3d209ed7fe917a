"""The metric, the folds, the recipe: from a folder in the competition's layout to weights with an out-of-fold score."""
