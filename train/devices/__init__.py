"""Devices, and processes that work together: arrays are placed on them here."""
