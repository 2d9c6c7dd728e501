"""Programs for other formats depend on no platform, whatever was traced before."""

import jax
import jax.numpy as jnp

from ema_jax.convolution import convolve
from train.export.plain import plain

IMAGES, KERNEL = jnp.ones((1, 5, 4, 2)), jnp.ones((1, 1, 2, 3))


def operations(program) -> str:
    """Of a program as one that JAX has not seen."""
    return str(jax.make_jaxpr(lambda images: program(images))(IMAGES))


def test_only_the_plain_program_does_not_choose_by_platform():
    def program(images):
        return convolve(images, KERNEL)

    shape = jax.ShapeDtypeStruct(IMAGES.shape, IMAGES.dtype)
    assert "= convolution[" in operations(program)
    assert "= conv_general_dilated[" in operations(plain(program, shape))
    assert "= convolution[" in operations(program)
