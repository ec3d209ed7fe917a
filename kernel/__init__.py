"""All that runs offline on Kaggle: one recording in, six probabilities out. Imports nothing else of this project."""
