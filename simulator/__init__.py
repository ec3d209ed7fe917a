"""An EEG data set in the competition's layout, from physiology: background, patterns, artefacts, voters."""
