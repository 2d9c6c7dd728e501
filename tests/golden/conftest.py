"""Keeps pytest from importing, for their doctests, the modules that need torch."""

collect_ignore = [
    "make_augment.py",
    "make_context.py",
    "make_evaluation.py",
    "make.py",
    "make_foreign.py",
    "make_heads.py",
    "make_lite.py",
    "make_pth.py",
    "make_train.py",
    "peer.py",
    "peer_context.py",
    "peer_heads.py",
    "peer_lite.py",
    "peer_mmseg.py",
]
