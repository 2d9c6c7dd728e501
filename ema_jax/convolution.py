"""Convolution of images, by what is fast on the machine that runs it.

On TPUs and GPUs that is XLA's. On CPUs XLA takes up to thirty times for a depthwise
convolution, and up to twelve for gradients of a 1×1 one, what the same sums take as
products of shifted images; seven where a dilation as large as the images makes most of
them products with the padding; and up to twice for a wide 3×3 one what Winograd's
products take: `benchmarks/convolution.py` measures them.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
from jax import Array

from ema_jax.algorithms import ALGORITHMS, xla
from ema_jax.operation import Operation
from ema_jax.options import check_option
from ema_jax.prepare import on_explicit_axes, varying
from ema_jax.shifts import Window, share
from ema_jax.winograd import fits, pays

Implementation = Literal["xla", "shifted", "winograd"]

MUCH = 2**28
"""Multiply-adds from which on it is worth the time to compile many small products."""

ADDED = 32
"""Multiply-adds in the time that it takes to add a product to the others."""

PLAIN = Window()


class Choice(NamedTuple):
    """What computes a convolution, and its derivatives by image and kernel."""

    forward: Implementation
    by_image: Implementation
    by_kernel: Implementation


XLA = Choice("xla", "xla", "xla")
SHIFTED = Choice("shifted", "shifted", "shifted")


def convolve(
    x: Array,
    kernel: Array,
    window: Window = PLAIN,
    implementation: Implementation | None = None,
) -> Array:
    """Convolution with symmetric padding `dilation · (k-1)/2` of zeros, never "SAME".

    `y[b, i, j] = Σ x[b, i·stride + u·dilation, j·stride + v·dilation] · kernel[u, v]`,
    u and v counted from the middle. Derivatives of any order and in either mode are
    those of `lax.conv_general_dilated` up to rounding.

    Args:
        x: images (B, H, W, C).
        kernel: (k, k, C / groups, features), k odd.
        window: how it moves.
        implementation: "xla"; "shifted", a sum of products of shifted images;
            "winograd", for 3×3 kernels that move by one pixel and see all channels; or
            None, what is faster on the platform for which the program is compiled;
            under `jax.shard_map` and on a mesh of explicit axes that is "xla".

    Returns:
        (B, ⌈H/stride⌉, ⌈W/stride⌉, features).

    Raises:
        ValueError: another implementation, or one that is not for such a kernel.

    Example:
        >>> images, kernel = map(jax.numpy.ones, ((1, 5, 4, 2), (3, 3, 2, 7)))
        >>> convolve(images, kernel, Window(stride=2)).shape
        (1, 3, 2, 7)
    """
    if implementation is not None:
        check_option("implementation", implementation, tuple(ALGORITHMS))
    if implementation == "winograd" and not fits(kernel.shape, window):
        raise ValueError(
            "implementation='winograd' is for 3×3 kernels with stride 1 and groups 1, "
            f"this has the shape {kernel.shape} and {window}; give 'shifted', or None"
        )
    if implementation == "xla" or not _can_choose(x, kernel, window):
        return xla(x, kernel, window)
    if implementation:
        cpu = default = Choice(*3 * (implementation,))
    else:
        cpu, default = choose(x, kernel, window), XLA
    if cpu == XLA:
        return xla(x, kernel, window)
    if window.precision is None:  # the one that holds here, not where this is compiled
        found = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
        window = window._replace(precision=found)
    _, height, width, _ = x.shape
    plan = Plan(window, kernel.shape[0], (height, width), cpu, default)
    return OUTPUT(x, kernel, static=(plan,))


def choose(x: Array, kernel: Array, window: Window) -> Choice:
    """What is faster on CPUs, measured by `benchmarks/convolution.py`.

    Shifts for all that is depthwise, and for 1×1 kernels, which are products of pixels.
    Where there is much to do, Winograd's products if they are less work; or shifts
    where that leaves out enough products with the padding, which a large dilation makes
    many, or where the kernel is larger than the images, as XLA turns it around in
    memory.
    """
    if window.groups > 1 or kernel.shape[0] == 1:
        return SHIFTED
    batch, height, width, channels = x.shape
    if not isinstance(batch, int):  # exported for any, one at the least
        batch = 1
    images = batch, height, width, channels
    pixels = batch * height * width
    if pixels // window.stride**2 * kernel.size < MUCH:
        return XLA
    if fits(kernel.shape, window) and pays(images, kernel.shape, window.dilation):
        return Choice("winograd", "winograd", "winograd")
    factors = min(kernel.shape[2:])
    if share((height, width), kernel.shape[0], window) * (factors + ADDED) < factors:
        return SHIFTED
    if kernel.size > pixels * channels:
        return Choice("shifted", "shifted", "xla")
    return XLA


def _can_choose(x: Array, kernel: Array, window: Window) -> bool:
    """Images of a known size; a dense kernel, or one with an output a channel.

    None that differ from device to device: only XLA's own gradient by a kernel that
    all share is their sum. None on a mesh of explicit axes: cuts would have to say how
    they are split.
    """
    if x.ndim != 4 or not all(isinstance(side, int) for side in x.shape[1:]):
        return False
    if any(varying(array) or on_explicit_axes(array) for array in (x, kernel)):
        return False
    return window.groups == 1 or window.groups == x.shape[-1] == kernel.shape[-1]


class Plan(NamedTuple):
    """What a convolution and its derivatives have in common.

    Attributes:
        window: how the kernel moves.
        size: of the kernel, one side.
        sides: of the images, height and width.
        cpu, default: what computes them on CPUs, and elsewhere.
    """

    window: Window
    size: int
    sides: tuple[int, int]
    cpu: Choice
    default: Choice


def _operation(
    name: str, compute: Callable[..., Array], *transposes: Callable[..., Array]
) -> Operation:
    """From `(a, b, plan, choice)`, linear in both; see `Operation`."""

    def on_cpu(a: Array, b: Array, plan: Plan) -> Array:
        return compute(a, b, plan, plan.cpu)

    def elsewhere(a: Array, b: Array, plan: Plan) -> Array:
        return compute(a, b, plan, plan.default)

    return Operation(name, on_cpu, elsewhere, dict(enumerate(transposes)))


def _output(x: Array, kernel: Array, plan: Plan, choice: Choice) -> Array:
    return ALGORITHMS[choice.forward].convolution(x, kernel, plan.window)


def _image(kernel: Array, gradient: Array, plan: Plan, choice: Choice) -> Array:
    algorithm = ALGORITHMS[choice.by_image]
    return algorithm.image_gradient(kernel, gradient, plan.sides, plan.window)


def _kernel(x: Array, gradient: Array, plan: Plan, choice: Choice) -> Array:
    algorithm = ALGORITHMS[choice.by_kernel]
    return algorithm.kernel_gradient(x, gradient, plan.size, plan.window)


# Each is what `Σ gradient · output` is multiplied with in one of its three factors, so
# that the derivatives of each are the other two.
OUTPUT: Operation = _operation(
    "convolution",
    _output,
    lambda gradient, kernel, plan: IMAGE(kernel, gradient, static=(plan,)),
    lambda gradient, x, plan: KERNEL(x, gradient, static=(plan,)),
)
IMAGE: Operation = _operation(
    "convolution_by_image",
    _image,
    lambda x, gradient, plan: KERNEL(x, gradient, static=(plan,)),
    lambda x, kernel, plan: OUTPUT(x, kernel, static=(plan,)),
)
KERNEL: Operation = _operation(
    "convolution_by_kernel",
    _kernel,
    lambda kernel, gradient, plan: IMAGE(kernel, gradient, static=(plan,)),
    lambda kernel, x, plan: OUTPUT(x, kernel, static=(plan,)),
)
