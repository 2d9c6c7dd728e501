"""What every golden file was computed from: sizes, networks and seeds.

No torch and no jax here, so that both sides of a comparison read the same constants.
Images, activations and features are stored channels last; weights, and the gradients
of weights, as PyTorch lays them out (OIHW, and `mu` as [1, C, K]).
"""

import dataclasses

import numpy as np

STAGE_SIZES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEM_CHANNELS = {"deep128": (64, 64, 128), "deep64": (32, 32, 64), "conv7": (64,)}
EXPANSION = 4  # output channels of a bottleneck over its inner channels
FC1_CHANNELS = 256
IMAGE_SIZES = ((97, 161), (100, 75))  # height, width: one is 8k+1, one is not
OUTPUT_STRIDES = (8, 16)

BN_EPSILON = 1e-5
BN_MOMENTUM = 3e-4  # weight of the new batch; 0.9997 of the old value is kept
EM_EPSILON = 1e-6
BASES_DECAY = 0.9

WEIGHT_SEED = 0
IMAGE_SEED = 1
COTANGENT_SEED = 2

SAMPLE_LIMIT = 400
UPSAMPLED_STEP = 7  # the stored upsampled logits are [:, ::7, ::7]


@dataclasses.dataclass(frozen=True)
class Network:
    """One EMANet. The three stems keep their true channels at any base width."""

    stage_sizes: tuple[int, ...] = STAGE_SIZES[50]
    stem: str = "deep128"
    output_stride: int = 8
    base_width: int = 64
    multi_grid: tuple[int, ...] = (1, 2, 4)
    channels: int = 512
    num_bases: int = 64
    num_iters: int = 3
    num_classes: int = 21
    dropout: float = 0.1


@dataclasses.dataclass(frozen=True)
class Attention:
    """EM attention alone on [batch, tokens, channels].

    The features are `values("em.x", (B, N, C)) * scale`, the initial bases
    `values("em.mu", (1, C, K))`, both with WEIGHT_SEED.
    """

    batch: int
    tokens: int
    channels: int
    num_bases: int
    num_iters: int
    scale: float = 1.5

    @property
    def name(self) -> str:
        return f"n{self.tokens}_c{self.channels}_k{self.num_bases}_t{self.num_iters}"


ATTENTION = (
    Attention(batch=2, tokens=63, channels=17, num_bases=7, num_iters=3),
    Attention(batch=1, tokens=35, channels=8, num_bases=5, num_iters=1),
    Attention(batch=3, tokens=24, channels=12, num_bases=3, num_iters=6),
    Attention(batch=2, tokens=9, channels=5, num_bases=1, num_iters=2),
    Attention(batch=2, tokens=1, channels=6, num_bases=4, num_iters=3),
    Attention(batch=1, tokens=50, channels=33, num_bases=64, num_iters=3, scale=0.7),
)

# The unit alone. Input: values("emau.input", (2, H, W, 24)), WEIGHT_SEED; weights under
# their full names "emau.…"; cotangent: values("emau.cotangent", …, COTANGENT_SEED).
UNIT_BATCH = 2
UNIT_CHANNELS = 24
UNIT_NUM_BASES = 7
UNIT_NUM_ITERS = 3
UNIT_SIZES = ((13, 9), (5, 8))

# The backbone alone, for every stem, output stride and image size.
RESNET_STAGE_SIZES = (1, 2, 2, 3)
RESNET_BASE_WIDTH = 8

# Whole networks, by depth: the (output stride, size) pairs that are stored.
EMANET_RUNS = {
    50: tuple((stride, size) for stride in OUTPUT_STRIDES for size in IMAGE_SIZES),
    101: ((8, (100, 75)), (16, (97, 161))),
    152: ((8, (100, 75)), (16, (97, 161))),
}

# Training. The batch of step i = 1..12 is image((4, 65, 49, 3), TRAIN_SEED + i) and
# labels((4, 65, 49), classes, TRAIN_SEED + i).
TRAIN_NETWORK = Network(
    stage_sizes=(1, 1, 2, 3),
    base_width=8,
    channels=32,
    num_bases=8,
    num_classes=5,
    dropout=0.0,
)
TRAIN_BATCH = 4
TRAIN_SIZE = (65, 49)
TRAIN_STEPS = 12
TRAIN_TOTAL_STEPS = 40
TRAIN_SEED = 100
TRAIN_GAIN = 2.0
BASE_LEARNING_RATE = 0.009
POWER = 0.9
HOLD_STEPS = 10  # the learning rate changes only at steps divisible by this
SGD_MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
IGNORE_LABEL = 255


@dataclasses.dataclass(frozen=True)
class Training:
    """Twelve steps of a network from the weights

        state_dict(network_shapes(network), WEIGHT_SEED, gain=gain, em_gain=em_gain)

    for each normalisation of the loss. What is stored of a weight is `sample` of it
    with this limit; `stored` names the weights, None all of them.
    """

    network: Network
    gain: float = TRAIN_GAIN
    em_gain: float | None = None
    normalizations: tuple[str, ...] = ("all_pixels", "valid_pixels")
    stored: tuple[str, ...] | None = None
    limit: int = SAMPLE_LIMIT

    @property
    def weights(self) -> tuple[str, ...]:
        return self.stored or tuple(network_shapes(self.network))


TRAININGS = {
    "train": Training(
        TRAIN_NETWORK,
        stored=(
            "extractor.0.3.weight",
            "extractor.1.running_mean",
            "extractor.6.1.bn2.weight",
            "fc0.bn.running_var",
            "emau.mu",
            "emau.conv1.weight",
            "fc1.0.conv.weight",
            "fc2.weight",
            "fc2.bias",
        ),
    ),
    # EMANet-50. Both gains keep float32 close to float64, the second by soft
    # responsibilities: EM with hard ones is chaotic.
    "train50": Training(
        Network(dropout=0.0),
        gain=3.0,
        em_gain=0.8,
        normalizations=("all_pixels",),
        limit=40,
    ),
}


def size_name(size: tuple[int, int]) -> str:
    """(97, 161) -> '97x161'."""
    return f"{size[0]}x{size[1]}"


def sample(x: np.ndarray, limit: int = SAMPLE_LIMIT) -> np.ndarray:
    """At most about `limit` values of x, evenly spread over its flattened form.

    The step is odd, so that every one of 2^n channels is visited.
    """
    flat = np.asarray(x).reshape(-1)
    return flat[:: max(1, flat.size // limit) | 1]


def _batch_norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{leaf}": (channels,) for leaf in leaves}


def _conv_bn(
    conv: str, bn: str, kernel: int, inputs: int, outputs: int
) -> dict[str, tuple[int, ...]]:
    weight = {f"{conv}.weight": (outputs, inputs, kernel, kernel)}
    return weight | _batch_norm(bn, outputs)


def _stem_shapes(stem: str) -> dict[str, tuple[int, ...]]:
    if stem == "conv7":
        return _conv_bn("extractor.0", "extractor.1", 7, 3, 64)
    first, second, third = STEM_CHANNELS[stem]
    return {
        **_conv_bn("extractor.0.0", "extractor.0.1", 3, 3, first),
        **_conv_bn("extractor.0.3", "extractor.0.4", 3, first, second),
        **_conv_bn("extractor.0.6", "extractor.1", 3, second, third),
    }


def _bottleneck_shapes(
    name: str, inputs: int, width: int, shortcut: bool
) -> dict[str, tuple[int, ...]]:
    outputs = EXPANSION * width
    shapes = {
        **_conv_bn(f"{name}.conv1", f"{name}.bn1", 1, inputs, width),
        **_conv_bn(f"{name}.conv2", f"{name}.bn2", 3, width, width),
        **_conv_bn(f"{name}.conv3", f"{name}.bn3", 1, width, outputs),
    }
    if shortcut:
        down = f"{name}.downsample"
        shapes |= _conv_bn(f"{down}.0", f"{down}.1", 1, inputs, outputs)
    return shapes


def backbone_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """The names (`extractor.…`) and shapes of the weights of a backbone."""
    shapes = _stem_shapes(network.stem)
    inputs = STEM_CHANNELS[network.stem][-1]
    for stage, size in enumerate(network.stage_sizes):
        width = network.base_width * 2**stage
        for block in range(size):
            name = f"extractor.{4 + stage}.{block}"
            shapes |= _bottleneck_shapes(name, inputs, width, shortcut=block == 0)
            inputs = EXPANSION * width
    return shapes


def unit_shapes(channels: int, num_bases: int) -> dict[str, tuple[int, ...]]:
    """The names (`emau.…`) and shapes of the weights of an EMA unit."""
    return {
        "emau.mu": (1, channels, num_bases),
        "emau.conv1.weight": (channels, channels, 1, 1),
        "emau.conv1.bias": (channels,),
        **_conv_bn("emau.conv2.0", "emau.conv2.1", 1, channels, channels),
    }


def network_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a whole EMANet, without `num_batches_tracked`."""
    features = EXPANSION * network.base_width * 2 ** (len(network.stage_sizes) - 1)
    return {
        **backbone_shapes(network),
        **_conv_bn("fc0.conv", "fc0.bn", 3, features, network.channels),
        **unit_shapes(network.channels, network.num_bases),
        **_conv_bn("fc1.0.conv", "fc1.0.bn", 3, network.channels, FC1_CHANNELS),
        "fc2.weight": (network.num_classes, FC1_CHANNELS, 1, 1),
        "fc2.bias": (network.num_classes,),
    }
