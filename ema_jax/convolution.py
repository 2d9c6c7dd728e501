"""Convolution of images, by what is fast on the machine that runs it.

On TPUs and GPUs that is XLA's. On CPUs XLA's gradient by a dense kernel takes up to
five times, and all of a depthwise convolution up to twenty times, what the same sums
take as products of shifted images: `benchmarks/convolution.py` measures them.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.options import check_option

Implementation = Literal["xla", "shifted"]

LAYOUT = ("NHWC", "HWIO", "NHWC")
TRANSPOSED = ("NHWC", "HWOI", "NHWC")
MUCH = 2**28
"""Multiply-adds from which on shifts are worth the time to compile them."""

BAND = 2**22
"""Bytes to which a band of an image is copied, at most."""


class Window(NamedTuple):
    """How a kernel moves over images.

    Attributes:
        stride, dilation: along height and width.
        groups: of channels: 1, or as many as there are.
        precision: of the products, see `jax.lax.Precision`.
    """

    stride: int = 1
    dilation: int = 1
    groups: int = 1
    precision: Any = None


PLAIN = Window()


class Choice(NamedTuple):
    """What computes a convolution, and its derivatives by image and kernel."""

    forward: Implementation
    by_image: Implementation
    by_kernel: Implementation


XLA = Choice("xla", "xla", "xla")


def convolve(
    x: Array,
    kernel: Array,
    window: Window = PLAIN,
    implementation: Implementation | None = None,
) -> Array:
    """Convolution with symmetric padding `dilation · (k-1)/2` of zeros, never "SAME".

    `y[b, i, j] = Σ x[b, i·stride + u·dilation, j·stride + v·dilation] · kernel[u, v]`,
    u and v counted from the middle. Derivatives of any order and direction are those of
    `lax.conv_general_dilated`, up to rounding.

    Args:
        x: images (B, H, W, C).
        kernel: (k, k, C / groups, features), k odd.
        window: how it moves.
        implementation: "xla"; "shifted", a sum of products of shifted images; or None,
            what is faster on the platform for which the program is compiled.

    Returns:
        (B, ⌈H/stride⌉, ⌈W/stride⌉, features).

    Raises:
        ValueError: another implementation.

    Example:
        >>> images, kernel = jnp.ones((1, 5, 4, 2)), jnp.ones((3, 3, 2, 7))
        >>> convolve(images, kernel, Window(stride=2)).shape
        (1, 3, 2, 7)
    """
    if implementation is not None:
        check_option("implementation", implementation, ("xla", "shifted"))
    plain = partial(xla, window=window)
    if implementation == "xla" or not _can_be_shifted(x, kernel, window):
        return plain(x, kernel)
    named = implementation and Choice(*3 * (implementation,))
    choice = named or choose(x, kernel, window)
    if choice == XLA:
        return plain(x, kernel)
    on_cpu = partial(_convolve, window=window, choice=choice)
    if implementation == "shifted":
        return on_cpu(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=plain)


def choose(x: Array, kernel: Array, window: Window) -> Choice:
    """What is faster on CPUs, measured by `benchmarks/convolution.py`.

    Shifts for all that is depthwise. Where there is much to do, for the gradient by the
    kernel; for all of a product of pixels, and where the kernel is larger than the
    images, as XLA turns it around in memory.
    """
    if window.groups > 1:
        return Choice("shifted", "shifted", "shifted")
    if kernel.shape[0] == 1:
        return Choice("shifted", "shifted", "shifted")
    batch, height, width, channels = x.shape
    if not isinstance(batch, int):  # exported for any, one at the least
        batch = 1
    pixels = batch * height * width
    if pixels // window.stride**2 * kernel.size < MUCH:
        return XLA
    if kernel.size > pixels * channels:
        return Choice("shifted", "shifted", "shifted")
    return Choice("xla", "xla", "shifted")


def _can_be_shifted(x: Array, kernel: Array, window: Window) -> bool:
    """Images of a known size; a dense kernel, or one with an output a channel."""
    if x.ndim != 4 or not all(isinstance(side, int) for side in x.shape[1:]):
        return False
    return window.groups == 1 or window.groups == x.shape[-1] == kernel.shape[-1]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: Array, kernel: Array, window: Window, choice: Choice) -> Array:
    return BY_NAME[choice.forward](x, kernel, window)


def _forward(
    x: Array, kernel: Array, window: Window, choice: Choice
) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, window, choice), (x, kernel)


def _backward(
    window: Window, choice: Choice, kept: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = kept
    by_image = image_gradient(x, kernel, gradient, window, choice.by_image)
    if choice.by_kernel == "shifted":
        return by_image, kernel_gradient(x, gradient, kernel.shape[0], window)
    transposed = jax.linear_transpose(lambda k: xla(x, k, window), kernel)
    return by_image, *transposed(gradient)


_convolve.defvjp(_forward, _backward)


def image_gradient(
    x: Array, kernel: Array, gradient: Array, window: Window, name: Implementation
) -> Array:
    """The gradient of a convolution by its images, from that by its output.

    With stride 1 it is a convolution too, by the turned kernel.
    """
    if window.stride > 1:
        call = partial(BY_NAME[name], kernel=kernel, window=window)
        [found] = jax.linear_transpose(lambda x: call(x), x)(gradient)
        return found
    turned = kernel[::-1, ::-1]
    if window.groups > 1:
        return BY_NAME[name](gradient, turned, window)
    return BY_NAME[name](gradient, turned, window, transposed=True)


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


def shifted(
    x: Array, kernel: Array, window: Window, *, transposed: bool = False
) -> Array:
    """By products of shifted images with the taps of the kernel, likewise."""
    axes = (((3,), (1 if transposed else 0,)), ((), ()))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    height, width = (-(-side // window.stride) for side in x.shape[1:3])
    total = jnp.zeros((), wide)
    size = kernel.shape[0]
    views = shifts(_padded(x, size, window), (height, width), size, window)
    taps = kernel.reshape(-1, *kernel.shape[2:])
    for view, tap in zip(views, taps, strict=True):
        if window.groups > 1:
            total += view.astype(wide) * tap[0].astype(wide)
        else:
            total += lax.dot_general(view, tap, axes, window.precision, wide)
    return total.astype(x.dtype)


def kernel_gradient(x: Array, gradient: Array, size: int, window: Window) -> Array:
    """The gradient of a convolution by its kernel, from that by its output.

    `Σ x[b, i·stride + u·dilation, j·stride + v·dilation] · gradient[b, i, j]`, band by
    band of the images: what a band is copied to stays in the cache.
    """
    batch, height, width, features = gradient.shape
    channels = x.shape[-1]
    row = size * width * channels * 4 * window.stride
    bands = -(-height // max(1, BAND // row))
    rows = -(-height // bands)
    below = bands * rows - height
    padded = _padded(x, size, window, below * window.stride)
    outputs = jnp.pad(gradient, ((0, 0), (0, below), (0, 0), (0, 0)))
    outputs = outputs.reshape(batch * bands, rows, width, features)
    reach = (rows - 1) * window.stride + 1 + window.dilation * (size - 1)
    term = _depthwise_term if window.groups > 1 else _dense_term

    def add(total: Array, band: tuple[Array, Array]) -> tuple[Array, None]:
        index, output = band
        top = index % bands * rows * window.stride
        corner = (index // bands, top, 0, 0)
        inputs = lax.dynamic_slice(padded, corner, (1, reach, *padded.shape[2:]))
        return total + term(inputs, output[None], size, window), None

    wide = jnp.promote_types(x.dtype, jnp.float32)
    shape = (size, size, channels // window.groups, features)
    total, _ = lax.scan(
        add, jnp.zeros(shape, wide), (jnp.arange(batch * bands), outputs)
    )
    return total.astype(x.dtype)


def _dense_term(inputs: Array, output: Array, size: int, window: Window) -> Array:
    """A row of taps at a time: (size · C) channels by features."""
    _, rows, width, features = output.shape
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    across = jnp.concatenate(
        [
            lax.slice_in_dim(
                inputs, left, left + (width - 1) * window.stride + 1, window.stride, 2
            )
            for left in range(0, size * window.dilation, window.dilation)
        ],
        axis=-1,
    )
    flat = output.reshape(-1, features)
    terms = []
    for top in range(0, size * window.dilation, window.dilation):
        end = top + (rows - 1) * window.stride + 1
        view = lax.slice_in_dim(across, top, end, window.stride, 1)
        view = view.reshape(len(flat), -1)
        terms.append(inner_product(view, flat, window.precision, wide))
    return jnp.stack(terms).reshape(size, size, -1, features)


def inner_product(x: Array, y: Array, precision: Any, dtype: DTypeLike) -> Array:
    """`xᵀ y` of (n, a) and (n, b).

    XLA turns the first factor of a product in memory: let that be the smaller turn. The
    barrier keeps it from making the factor anew, element by element out of order.
    """
    (n, a), b = x.shape, y.shape[1]
    product = partial(
        lax.dot_general,
        dimension_numbers=(((0,), (0,)), ((), ())),
        precision=precision,
        preferred_element_type=dtype,
    )
    if n * a <= n * b + a * b:
        return product(lax.optimization_barrier(x), y)
    return product(lax.optimization_barrier(y), x).T


def _depthwise_term(inputs: Array, output: Array, size: int, window: Window) -> Array:
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    views = shifts(inputs, output.shape[1:3], size, window)
    terms = [jnp.sum((view * output).astype(wide), (0, 1, 2)) for view in views]
    return jnp.stack(terms).reshape(size, size, 1, -1)


def _padded(x: Array, size: int, window: Window, below: int = 0) -> Array:
    """Images in a frame as wide as the kernel reaches, and more rows below."""
    margin = window.dilation * (size - 1) // 2
    return jnp.pad(x, ((0, 0), (margin, margin + below), (margin, margin), (0, 0)))


def shifts(
    padded: Array, sides: tuple[int, ...], size: int, window: Window
) -> Iterator[Array]:
    """What lies under each tap, (B, *sides, C), row by row of the kernel."""
    batch, _, _, channels = padded.shape
    stride, dilation = window.stride, window.dilation
    height, width = ((side - 1) * stride + 1 for side in sides)
    for top in range(0, size * dilation, dilation):
        for left in range(0, size * dilation, dilation):
            end = (batch, top + height, left + width, channels)
            yield lax.slice(padded, (0, top, left, 0), end, (1, stride, stride, 1))


BY_NAME: dict[str, Callable[..., Array]] = {
    "xla": xla,
    "shifted": shifted,
}
