"""Convolution of images, by what is fast on the machine that runs it.

On TPUs and GPUs that is XLA's. On CPUs XLA takes up to thirty times for a depthwise
convolution, and up to twelve for gradients of a 1×1 one, what the same sums take as
products of shifted images; seven where a dilation as large as the images makes most of
them products with the padding; and up to twice for a wide 3×3 one what Winograd's
products take: `benchmarks/convolution.py` measures them.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
from jax import Array

from ema_jax import winograd
from ema_jax.algorithms import ALGORITHMS, Algorithm, xla
from ema_jax.operation import Operation
from ema_jax.options import check_option
from ema_jax.prepare import on_explicit_axes, varying
from ema_jax.shifts import Window, share

Implementation = Literal["xla", "shifted", "winograd"]

MUCH = 9 * 10**7
"""Multiply-adds from which on it is worth the time to compile many small products."""

COPIED, ADDED = 16, 32
"""Multiply-adds in the time that it takes to copy what a product is of, or to add it to
the others."""

PLAIN = Window()


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
    if implementation == "winograd" and not winograd.fits(kernel.shape, window):
        raise ValueError(
            "implementation='winograd' is for 3×3 kernels with stride 1 and groups 1, "
            f"this has the shape {kernel.shape} and {window}; give 'shifted', or None"
        )
    if implementation == "xla" or not _can_choose(x, kernel, window):
        return xla(x, kernel, window)
    cpu = implementation or choose(x, kernel, window)
    if cpu == "xla":
        return xla(x, kernel, window)
    if window.precision is None:  # the one that holds here, not where this is compiled
        found = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
        window = window._replace(precision=found)
    _, height, width, _ = x.shape
    default = implementation or "xla"
    plan = Plan(window, kernel.shape[0], (height, width), cpu, default)
    return OUTPUT(x, kernel, static=(plan,))


def choose(x: Array, kernel: Array, window: Window) -> Implementation:
    """What is faster on CPUs, measured by `benchmarks/convolution.py`.

    Shifts for all that is depthwise, and for 1×1 kernels, which are products of pixels.
    Where there is much to do, the least work: a large dilation makes many products with
    the padding, which shifts leave out, and tiles that images do not fill; few channels
    make what moves beside the products count.
    """
    size, _, channels, features = kernel.shape
    if window.groups > 1 or size == 1:
        return "shifted"
    batch, height, width, _ = x.shape
    if not isinstance(batch, int):  # exported for any, one at the least
        batch = 1
    pixels = batch * window.outputs(height) * window.outputs(width)
    written = pixels * kernel.size
    if written < MUCH:
        return "xla"
    left = written * share((height, width), size, window)
    work: dict[Implementation, float] = {
        "xla": written * (1 + COPIED / features),
        "shifted": left * (1 + ADDED / min(channels, features)),
    }
    if winograd.fits(kernel.shape, window):
        images = batch, height, width, channels
        work["winograd"] = winograd.work(images, features, window.dilation)
    return min(work, key=lambda name: work[name])


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
    cpu: Implementation
    default: Implementation


def _operation(
    name: str,
    compute: Callable[..., Array],
    *transposes: Callable[..., Array],
    differentiated: Callable[..., Array] | None = None,
) -> Operation:
    """From `(algorithm, a, b, plan)`, linear in a and b; see `Operation`."""

    def on_cpu(compute: Callable[..., Array], a: Array, b: Array, plan: Plan) -> Array:
        return compute(ALGORITHMS[plan.cpu], a, b, plan)

    def elsewhere(a: Array, b: Array, plan: Plan) -> Array:
        return compute(ALGORITHMS[plan.default], a, b, plan)

    return Operation(
        name,
        partial(on_cpu, compute),
        elsewhere,
        dict(enumerate(transposes)),
        partial(on_cpu, differentiated) if differentiated else None,
    )


def _output(by: Algorithm, x: Array, kernel: Array, plan: Plan) -> Array:
    return by.convolution(x, kernel, plan.window)


def _differentiated(by: Algorithm, x: Array, kernel: Array, plan: Plan) -> Array:
    return by.differentiated(x, kernel, plan.window)


def _image(by: Algorithm, kernel: Array, gradient: Array, plan: Plan) -> Array:
    return by.image_gradient(kernel, gradient, plan.sides, plan.window)


def _kernel(by: Algorithm, x: Array, gradient: Array, plan: Plan) -> Array:
    return by.kernel_gradient(x, gradient, plan.size, plan.window)


# Each is what `Σ gradient · output` is multiplied with in one of its three factors, so
# that the derivatives of each are the other two.
OUTPUT: Operation = _operation(
    "convolution",
    _output,
    lambda gradient, kernel, plan: IMAGE(kernel, gradient, static=(plan,)),
    lambda gradient, x, plan: KERNEL(x, gradient, static=(plan,)),
    differentiated=_differentiated,
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
