"""What lite.npz was computed from; see make_lite.py. No torch and no jax here."""

OUTPUT_STRIDES = (8, 16, 32)
SIZES = ((97, 161), (129, 129))
"""Every strided layer sees odd sides, which it pads alike on both ends."""

SAMPLE_LIMIT = 120
IMAGENET_RUN = (16, (97, 161))
"""Stride and size for the published weights."""
