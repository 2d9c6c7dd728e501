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
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.kernel_gradient import kernel_gradient
from ema_jax.options import check_option
from ema_jax.prepare import on_explicit_axes, varying
from ema_jax.shifts import Window, frame, reaches, share, shifts
from ema_jax.winograd import fits, pays, winograd, winograd_kernel_gradient

Implementation = Literal["xla", "shifted", "winograd"]

LAYOUT = ("NHWC", "HWIO", "NHWC")
TRANSPOSED = ("NHWC", "HWOI", "NHWC")
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
    u and v counted from the middle. Derivatives of any order, in reverse mode, are
    those of `lax.conv_general_dilated` up to rounding; "xla" has those in forward mode
    too, which JAX refuses for the others on CPUs.

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
        >>> images, kernel = jnp.ones((1, 5, 4, 2)), jnp.ones((3, 3, 2, 7))
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
    plain = partial(xla, window=window)
    if implementation == "xla" or not _can_choose(x, kernel, window):
        return plain(x, kernel)
    named = implementation and Choice(*3 * (implementation,))
    choice = named or choose(x, kernel, window)
    if choice == XLA:
        return plain(x, kernel)
    on_cpu = partial(_convolve, window=window, choice=choice)
    if named:
        return on_cpu(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=plain)


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


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: Array, kernel: Array, window: Window, choice: Choice) -> Array:
    return ALGORITHMS[choice.forward].convolution(x, kernel, window)


def _forward(
    x: Array, kernel: Array, window: Window, choice: Choice
) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, window, choice), (x, kernel)


@partial(jax.jit, static_argnums=(0, 1))  # for JAX to trace it once for each shape
def _backward(
    window: Window, choice: Choice, kept: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = kept
    by_image = image_gradient(x, kernel, gradient, window, choice.by_image)
    by_kernel = ALGORITHMS[choice.by_kernel].kernel_gradient
    return by_image, by_kernel(x, gradient, kernel.shape[0], window)


_convolve.defvjp(_forward, _backward)


def image_gradient(
    x: Array, kernel: Array, gradient: Array, window: Window, name: Implementation
) -> Array:
    """The gradient of a convolution by its images, from that by its output.

    With stride 1 it is a convolution too, by the turned kernel.
    """
    convolution = ALGORITHMS[name].convolution
    if window.stride > 1:
        call = partial(convolution, kernel=kernel, window=window)
        [found] = jax.linear_transpose(lambda x: call(x), x)(gradient)
        return found
    turned = kernel[::-1, ::-1]
    if window.groups > 1:
        return convolution(gradient, turned, window)
    return convolution(gradient, turned, window, transposed=True)


def xla(x: Array, kernel: Array, window: Window, *, transposed: bool = False) -> Array:
    """By `lax.conv_general_dilated`; if `transposed`, from outputs to inputs."""
    margin = window.dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        2 * (window.stride,),
        2 * ((margin, margin),),
        rhs_dilation=2 * (window.dilation,),
        dimension_numbers=TRANSPOSED if transposed else LAYOUT,
        feature_group_count=window.groups,
        precision=window.precision,
    )


def xla_kernel_gradient(x: Array, gradient: Array, size: int, window: Window) -> Array:
    """That of `xla` by its kernel, (size, size, C / groups, features)."""
    shape = (size, size, x.shape[-1] // window.groups, gradient.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    [found] = jax.linear_transpose(lambda k: xla(x, k, window), kernel)(gradient)
    return found


@partial(jax.jit, static_argnames=("window", "transposed"))
def shifted(
    x: Array, kernel: Array, window: Window, *, transposed: bool = False
) -> Array:
    """By products of shifted images with the taps of the kernel, likewise."""
    if window.groups > 1:
        return _depthwise(x, kernel, window)
    wide, axis = jnp.promote_types(x.dtype, jnp.float32), 1 if transposed else 0
    if transposed and x.dtype != wide:  # which XLA of jax 0.7 cannot do on CPUs
        kernel, axis = kernel.swapaxes(2, 3), 0
    axes = (((3,), (axis,)), ((), ()))
    total = jnp.zeros((), wide)
    for reach in reaches(x.shape[1:3], kernel.shape[0], window):
        tap = kernel[reach.rows.tap, reach.columns.tap]
        product = lax.dot_general(reach.read(x), tap, axes, window.precision, wide)
        total += reach.spread(product)
    return total.astype(x.dtype)


def _depthwise(x: Array, kernel: Array, window: Window) -> Array:
    """All taps in one loop over images in a frame of zeros."""
    wide, size = jnp.promote_types(x.dtype, jnp.float32), kernel.shape[0]
    sides = tuple(map(window.outputs, x.shape[1:3]))
    views = shifts(frame(x, size, window), sides, size, window)
    taps = kernel.reshape(-1, kernel.shape[-1])
    total = jnp.zeros((), wide)
    for view, tap in zip(views, taps, strict=True):
        total += view.astype(wide) * tap.astype(wide)
    return total.astype(x.dtype)


class Algorithm(NamedTuple):
    """A convolution, and its gradient by the kernel."""

    convolution: Callable[..., Array]
    kernel_gradient: Callable[[Array, Array, int, Window], Array]


ALGORITHMS: dict[str, Algorithm] = {
    "xla": Algorithm(xla, xla_kernel_gradient),
    "shifted": Algorithm(shifted, kernel_gradient),
    "winograd": Algorithm(winograd, winograd_kernel_gradient),
}
