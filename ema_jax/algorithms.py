"""Ways to compute a convolution and its gradients."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.kernel_gradient import kernel_gradient
from ema_jax.shifts import Window, frame, reaches, shifts
from ema_jax.winograd import winograd, winograd_kernel_gradient

LAYOUT = ("NHWC", "HWIO", "NHWC")


def xla(x: Array, kernel: Array, window: Window) -> Array:
    """By `lax.conv_general_dilated`."""
    margin = window.dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        2 * (window.stride,),
        2 * ((margin, margin),),
        rhs_dilation=2 * (window.dilation,),
        dimension_numbers=LAYOUT,
        feature_group_count=window.groups,
        precision=window.precision,
    )


def xla_kernel_gradient(x: Array, gradient: Array, size: int, window: Window) -> Array:
    """That of `xla` by its kernel, (size, size, C / groups, features)."""
    shape = (size, size, x.shape[-1] // window.groups, gradient.shape[-1])
    return _pull(lambda kernel: xla(x, kernel, window), shape, gradient)


def _by_transpose(
    convolution: Callable[..., Array],
    kernel: Array,
    gradient: Array,
    sides: tuple[int, int],
    window: Window,
) -> Array:
    """The gradient of a convolution by its images, (B, *sides, C), as JAX finds it."""
    shape = (gradient.shape[0], *sides, kernel.shape[2] * window.groups)
    return _pull(lambda x: convolution(x, kernel, window), shape, gradient)


def _pull(
    function: Callable[[Array], Array], shape: tuple[int, ...], gradient: Array
) -> Array:
    """The gradient of a linear function by its argument, of that shape."""
    argument = jax.ShapeDtypeStruct(shape, gradient.dtype)
    [found] = jax.linear_transpose(function, argument)(gradient)
    return found


def _turned(
    convolution: Callable[..., Array],
    kernel: Array,
    gradient: Array,
    sides: tuple[int, int],
    window: Window,
) -> Array:
    """The same; with stride 1 it is a convolution too, by the turned kernel."""
    if window.stride > 1:
        return _by_transpose(convolution, kernel, gradient, sides, window)
    turned = kernel[::-1, ::-1]
    return convolution(gradient, turned, window, transposed=True)


def shifted(
    x: Array, kernel: Array, window: Window, *, transposed: bool = False
) -> Array:
    """By products of shifted images with the taps of the kernel.

    If `transposed`, from outputs to inputs.
    """
    if window.groups > 1:  # of one channel to one, either way
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
    """A convolution, and its gradients by image and kernel.

    Attributes:
        differentiated: the convolution where its gradients are asked for too.
    """

    convolution: Callable[..., Array]
    differentiated: Callable[..., Array]
    image_gradient: Callable[[Array, Array, tuple[int, int], Window], Array]
    kernel_gradient: Callable[[Array, Array, int, Window], Array]


ALGORITHMS: dict[str, Algorithm] = {
    "xla": Algorithm(xla, xla, partial(_by_transpose, xla), xla_kernel_gradient),
    "shifted": Algorithm(shifted, shifted, partial(_turned, shifted), kernel_gradient),
    "winograd": Algorithm(
        winograd,
        partial(winograd, shared=True),
        partial(_turned, winograd),
        winograd_kernel_gradient,
    ),
}
