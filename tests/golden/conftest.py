"""Keeps pytest from importing, for their doctests, the modules that need torch."""

collect_ignore = [
    "make_evaluation.py",
    "make.py",
    "make_foreign.py",
    "peer.py",
    "peer_mmseg.py",
]
