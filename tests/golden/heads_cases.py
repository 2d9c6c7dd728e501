"""What heads.npz was computed from; see make_heads.py. No torch and no jax here."""

BATCH = 3
CLASSES = 5
LOW_SHAPE = (BATCH, 17, 25, 12)  # stage 1, channels last
SHAPE = (BATCH, 9, 13, 20)  # stage 4
CHANNELS = 16
LOW_LEVEL_CHANNELS = 6
RATES = (2, 4, 6)
HIDDEN_CHANNELS = 24

# Attention sees 5×7 pixels, whose offsets a map of 9×13 covers: 9 leaves some out in
# one direction, 15 has too many in both.
HEADS = {
    "fcn": {},
    "deeplabv3": {},
    "deeplabv3plus": {},
    "deeplabv3plus_no_pooling": {"image_pooling": False},
    "psa9": {"map_size": 9},
    "psa15": {"map_size": 15},
}
TRAIN_SEED = 8
"""Of the features in training: no ReLU is so near to zero that rounding turns it."""

GRADIENTS = {
    "fcn": ("conv1.conv.weight", "classifier.weight"),
    "deeplabv3": ("aspp.pool.conv.weight", "aspp.conv3.conv.weight"),
    "deeplabv3plus": ("low_level.conv.weight", "aspp.project.conv.weight"),
    "deeplabv3plus_no_pooling": ("aspp.conv1.conv.weight",),
    "psa9": ("collect_map.weight", "distribute_reduce.conv.weight"),
    "psa15": ("distribute_map.weight", "collect_reduce.conv.weight"),
}
"""Weights, in PyTorch's layout, whose gradient is stored."""
