"""What evaluation.npz was computed from; the network is `cases.TRAIN_NETWORK`."""

EVALUATION_SIZES = ((65, 49), (50, 71), (37, 62))
EVALUATION_SCALES = (0.5, 1.0, 1.75)
EVALUATION_WINDOW = (41, 33)
EVALUATION_OVERLAP = 1 / 3
