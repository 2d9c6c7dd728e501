"""Ablations for `main.py ablate`: `default.py` explains the fields."""
