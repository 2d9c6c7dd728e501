"""Keeps pytest from importing, for their doctests, the modules that need torch."""

collect_ignore = ["make.py", "peer.py"]
