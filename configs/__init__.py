"""Configs: `default.py` explains every field, the others override a few."""
