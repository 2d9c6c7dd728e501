"""States go to disk, and come back whole: one folder, one training."""
