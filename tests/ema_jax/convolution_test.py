"""What CPUs compute against XLA's convolution, which accelerators keep."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.test_util import check_grads

from ema_jax import convolution, winograd
from ema_jax.convolution import convolve
from ema_jax.kernel_gradient import inner_product
from ema_jax.shifts import Window
from tests.quick import run

WINDOWS = [
    (3, Window(), 5),
    (3, Window(dilation=2), 5),
    (3, Window(stride=2), 5),
    (3, Window(dilation=11), 5),
    (5, Window(), 3),
    (5, Window(stride=2, dilation=3), 3),
    (7, Window(stride=2), 3),
    (1, Window(), 5),
    (1, Window(stride=2), 6),
    (3, Window(groups=4), 4),
    (5, Window(stride=2, groups=4), 4),
    (5, Window(dilation=2, groups=4), 4),
]
"""Side of the kernel, its movement, and the features; of four channels."""

OURS = ("shifted", "winograd")


def operands(size, window, features, sides=(13, 10), dtype=jnp.float32):
    """Images, a kernel, and the gradient of what comes out."""
    rng = np.random.default_rng(size)
    height, width = (-(-side // window.stride) for side in sides)
    shapes = (
        (2, *sides, 4),
        (size, size, 4 // window.groups, features),
        (2, height, width, features),
    )
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def both(implementation, window):
    """(x, kernel, gradient) -> the outputs and both gradients."""

    def call(x, kernel, gradient):
        forward = partial(convolve, window=window, implementation=implementation)
        y, pull = jax.vjp(forward, x, kernel)
        return y, *pull(gradient)

    return call


@pytest.fixture
def much(monkeypatch):
    """So that nothing is too small for what CPUs do."""
    monkeypatch.setattr(convolution, "MUCH", 0)
    monkeypatch.setattr(convolution, "ADDED", 0)
    monkeypatch.setattr(winograd, "MOVED", 0)


def each(window, *implementations):
    """(x, kernel, gradient) -> what `both` gives, of each implementation."""
    calls = [both(implementation, window) for implementation in implementations]
    return lambda *given: [call(*given) for call in calls]


@pytest.mark.parametrize(("size", "window", "features"), WINDOWS)
def test_outputs_and_gradients(much, size, window, features):
    given = operands(size, window, features)
    expected, shifted, chosen = run(each(window, "xla", "shifted", None), *given)
    for actual in (shifted, chosen):
        for found, wanted in zip(actual, expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("sides", [(13, 10), (12, 12), (2, 3)])
def test_tiles_that_the_image_does_not_fill(dilation, sides):
    window = Window(dilation=dilation)
    given = operands(3, window, 5, sides)

    def call(x, kernel, gradient):
        alone = convolve(x, kernel, window, "winograd")
        return alone, *each(window, "xla", "winograd")(x, kernel, gradient)

    alone, expected, found = run(call, *given)
    for actual, wanted in zip((alone, *found), expected[:1] + expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_bands_of_separate_channels(stride):
    """Three of an image, the last of which is not full (stride 1), or is."""
    window = Window(stride=stride, groups=4)
    given = operands(3, window, 4, sides=(29, 6))
    expected, [_, _, gradient] = run(each(window, "xla", "shifted"), *given)
    np.testing.assert_allclose(gradient, expected[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("implementation", OURS)
def test_second_derivatives(implementation):
    x, kernel, _ = operands(3, Window(), 2, sides=(4, 3))

    def loss(x, kernel):
        return jnp.sum(convolve(x, kernel, implementation=implementation) ** 3)

    slopes = jax.jit(jax.grad(loss, (0, 1)))
    check_grads(slopes, (x, kernel), 1, ["rev"], 1e-2, 1e-2, 1e-2)


@pytest.mark.parametrize(("size", "window", "features"), WINDOWS[::3])
def test_derivatives_in_forward_mode(much, size, window, features):
    """Also of the gradients: the product of the Hessian with a vector."""
    given = operands(size, window, features)
    along = [np.sin(array) for array in given]

    def call(implementation, given, along):
        return jax.jvp(both(implementation, window), given, along)[1]

    expected, found = run(
        lambda *both: [call(name, *both) for name in ("xla", None)],
        tuple(given),
        tuple(along),
    )
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)


def test_precision_is_that_of_the_place_where_it_is_called(much):
    """Not of where the gradient is taken, or the program compiled."""

    def loss(x, kernel):
        with jax.default_matmul_precision("highest"):
            return jnp.sum(convolve(x, kernel) ** 2)

    program = jax.jit(jax.grad(loss, (0, 1))).trace(*operands(3, Window(), 5)[:2])
    text = program.lower(lowering_platforms=("tpu",)).as_text()
    assert text.count("stablehlo.convolution") == 3
    assert text.count("precision HIGHEST") == 2 * 3


@pytest.mark.parametrize("implementation", [*OURS, None])
def test_over_a_batch_of_kernels(much, implementation):
    x, kernel, _ = operands(3, Window(), 5)
    kernels = np.stack([kernel, -2 * kernel])
    call = partial(convolve, implementation=implementation)
    several = np.asarray(run(jax.vmap(call, (None, 0)), x, kernels))
    single = np.asarray(run(partial(convolve, implementation="xla"), x, kernel))
    np.testing.assert_allclose(several[1], -2 * single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("implementation", OURS)
def test_bfloat16_is_summed_in_float32(implementation):
    x, kernel, gradient = operands(3, Window(), 5, dtype=jnp.bfloat16)
    given = (array.astype(np.float32) for array in (x, kernel, gradient))
    exact = run(both("xla", Window()), *given)
    found = jax.device_get(run(both(implementation, Window()), x, kernel, gradient))
    for low, high in zip(found, exact, strict=True):
        assert low.dtype == jnp.bfloat16
        np.testing.assert_allclose(low.astype(np.float32), high, rtol=1e-2, atol=2e-2)


def test_exported_for_a_batch_of_any_size(much):
    given = operands(3, Window(), 5)
    [batch] = export.symbolic_shape("batch")
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in ((batch, 13, 10, 4), given[1].shape, (batch, 13, 10, 5))
    ]
    program = export.export(jax.jit(both(None, Window())))(*shapes)
    expected = run(both("xla", Window()), *given)
    for actual, wanted in zip(program.call(*given), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("groups", [1, 4])
def test_accelerators_get_what_they_got(much, platform, groups):
    """The same operations in the program, forward and backward."""

    def operations(implementation):
        window = Window(groups=groups)
        program = jax.jit(both(implementation, window))
        given = operands(3, window, 4)
        text = program.trace(*given).lower(lowering_platforms=(platform,)).as_text()
        names = re.findall(r"= stablehlo\.(\w+)", text)
        return sorted(name for name in names if name != "constant")

    found, wanted = operations(None), operations("xla")
    assert found.count("convolution") == 3
    assert found == wanted


def test_another_name_is_refused():
    x, kernel, _ = operands(3, Window(), 5)
    with pytest.raises(ValueError, match="implementation='fast'"):
        convolve(x, kernel, implementation="fast")


@pytest.mark.parametrize(
    "window", [Window(stride=2), Window(groups=4)], ids=["stride", "groups"]
)
def test_a_kernel_that_winograds_sums_are_not_for(window):
    x, kernel, _ = operands(3, window, 4)
    with pytest.raises(ValueError, match="stride 1 and groups 1"):
        convolve(x, kernel, window, "winograd")


@pytest.mark.parametrize(
    ("side", "dilation", "less"), [(65, 2, True), (17, 8, False), (5, 1, False)]
)
def test_tiles_are_less_work_where_images_fill_them(side, dilation, less):
    """At most 20 of 36 products are saved, and a dilation of 8 pads 17 pixels to 32."""
    work = winograd.work((1, side, side, 512), 512, dilation)
    assert (work < 9 * side**2 * 512**2) == less


def test_the_smaller_factor_of_an_inner_product_is_turned():
    """The first of the product that CPUs compute, also where that is turned back."""
    wide, narrow = (jax.ShapeDtypeStruct((64, size), jnp.float32) for size in (8, 2))
    product = partial(inner_product, precision=None, dtype=jnp.float32)
    for factors in ((wide, narrow), (narrow, wide)):
        text = jax.jit(product).lower(*factors).compile().as_text()
        assert re.search(r"= f32\[2,8]\S* dot\(", text)


@pytest.mark.parametrize(("dilation", "products"), [(9, 9), (10, 3), (13, 1)])
def test_no_product_with_the_padding_alone(dilation, products):
    """On images of 13 rows and 10 columns, whose outer taps lie beside them."""
    window = Window(dilation=dilation)
    program = jax.jit(both("shifted", window)).lower(*operands(3, window, 5))
    assert program.as_text().count("stablehlo.dot_general") == 3 * products


@pytest.mark.parametrize(
    ("images", "features", "dilation", "wanted"),
    [
        ((2, 17, 17, 512), 512, 8, "shifted"),
        ((1, 65, 65, 512), 512, 16, "shifted"),
        ((1, 65, 65, 2048), 256, 24, "shifted"),
        ((1, 65, 65, 512), 512, 8, "winograd"),
        ((16, 13, 13, 128), 128, 4, "shifted"),
        ((16, 13, 13, 128), 128, 2, "winograd"),
        ((16, 13, 13, 64), 64, 1, "winograd"),
        ((16, 13, 13, 64), 64, 4, "shifted"),
        ((16, 49, 49, 16), 32, 1, "xla"),
        ((2, 33, 33, 64), 64, 1, "xla"),
    ],
)
def test_the_least_work(images, features, dilation, wanted):
    """As `benchmarks/convolution.py` has it on two cores."""
    shapes = images, (3, 3, images[-1], features)
    x, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    found = convolution.choose(x, kernel, Window(dilation=dilation))
    assert found == wanted


@pytest.mark.parametrize("window", [Window(), Window(groups=4)])
def test_under_shard_map_a_shared_kernel_gets_the_sum(window, much):
    x, kernel, gradient = operands(3, window, 4)

    def by_kernel(kernel, x, gradient):
        return jax.vjp(lambda k: convolve(x, k, window), kernel)[1](gradient)[0]

    devices = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    shared, split = jax.P(), jax.P("data")
    sharded = jax.shard_map(
        by_kernel, mesh=devices, in_specs=(shared, split, split), out_specs=shared
    )
    np.testing.assert_allclose(
        run(sharded, kernel, x, gradient),
        run(by_kernel, kernel, x, gradient),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("window", [Window(), Window(groups=4)])
def test_on_a_mesh_of_explicit_axes(window, much):
    given = operands(3, window, 4)
    devices = jax.make_mesh(
        (2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,)
    )
    split, shared = (jax.NamedSharding(devices, jax.P(name)) for name in ("data", None))
    placed = [
        jax.device_put(array, sharding)
        for array, sharding in zip(given, (split, shared, split), strict=True)
    ]
    with jax.set_mesh(devices):
        found = run(both(None, window), *placed)
    for actual, wanted in zip(found, run(both("xla", window), *given), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)
