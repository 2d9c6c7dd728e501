"""From a state to files of a workdir, and back whole: one folder, one training."""
