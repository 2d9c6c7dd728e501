"""Ablations: trainings that differ in one or two things, compared in a table."""
