"""Arguments that cannot be meant are one ValueError with the value and the mend."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import EMAU, MODELS, em_attention, em_trace, mixture_log_likelihood
from ema_jax.context import CONTEXTS
from ema_jax.segmenter import variable_shapes

X, BASES = np.ones((2, 5, 4), np.float32), np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    "function",
    [em_attention, em_trace, mixture_log_likelihood],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": X[0, 0]}, r"x has shape \(4,\); give tokens as"),
        ({"x": X.astype(np.int32)}, "x has type int32; convert"),
        ({"bases": BASES[:, :2]}, r"bases of shape \(3, 2\) do not fit"),
        ({"bases": BASES[:0]}, r"bases of shape \(0, 4\) do not fit"),
        ({"bases": np.ones((7, 3, 4))}, "have other leading axes"),
        ({"mask": np.ones(5, bool)}, r"mask has shape \(5,\); x of shape"),
        ({"kernel": "cosine"}, "kernel='cosine' is unknown"),
        ({"temperature": np.ones(5)}, r"temperature has shape \(5,\); give one"),
    ],
)
def test_of_every_function(function, arguments, words):
    with pytest.raises(ValueError, match=words) as error:
        function(**{"x": X, "bases": BASES} | arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("function", [em_attention, em_trace])
@pytest.mark.parametrize("value", [0, -1, 3.0, "3", None, True, np.int64(0)])
def test_iterations_that_are_no_count(function, value):
    with pytest.raises(ValueError, match=r"num_iters=.*; give an integer of at least"):
        function(X, BASES, num_iters=value)


def test_options_of_the_trace():
    for option in ("normalization", "assignment"):
        with pytest.raises(ValueError, match=f"{option}='l1' is unknown"):
            em_trace(X, BASES, **{option: "l1"})


def test_a_traced_count_of_unrolled_iterations():
    unroll = jax.jit(partial(em_attention, gradient="unroll"))
    with pytest.raises(ValueError, match="num_iters is traced, and gradient='unroll'"):
        unroll(X, BASES, num_iters=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_bases": 2.5}, "num_bases=2.5; give an integer"),
        ({"num_bases": "4"}, "num_bases='4'; give an integer"),
        ({"num_heads": 0}, "num_heads=0; give an integer"),
        ({"bases_decay": 9.0}, "bases_decay=9.0; give a number from 0 to 1"),
        ({"bn_decay": -1.0}, "bn_decay=-1.0; give a number from 0 to 1"),
        ({"eval_iters": 0}, "eval_iters=0; give an integer"),
        ({"eval_window": (9,)}, r"eval_window=\(9,\); give a height and a width of"),
        ({"eval_window": 9}, "eval_window=9; give a height and a width of"),
        ({"eval_window": (9, 5)}, r"x has shape \(2, 5, 4\); give \(B, H, W, C\)"),
        (
            {"eval_window": (9, 5), "token_axis_name": "rows"},
            r"eval_window=\(9, 5\) .* token_axis_name='rows' splits them; give one",
        ),
        (
            {"learn_temperature": True, "gradient": "unroll", "temperature": 0.0},
            r"temperature=0.0 has no logarithm to learn; .* above 0",
        ),
    ],
)
def test_attributes_of_the_unit(options, words):
    with pytest.raises(ValueError, match=words):
        EMAU(**options).init(jax.random.key(0), X, train=False)


def shapes(module, x):
    return jax.eval_shape(partial(module.init, train=False), jax.random.key(0), x)


def applied(module, variables, x, **options):
    return jax.eval_shape(partial(module.apply, **options), variables, x)


def test_bases_of_another_unit():
    """Flax compares the shapes of parameters, but not those of other variables."""
    variables = shapes(EMAU(num_bases=3), X)
    with pytest.raises(ValueError, match=r"bases have shape \(3, 4\); num_bases=7"):
        applied(EMAU(num_bases=7), variables, X, train=False)
    for shape in ((5, 4), (3, 3), (4,), (5, 3, 4)):
        with pytest.raises(ValueError, match=r"the bases have shape \("):
            applied(
                EMAU(num_bases=3, num_heads=2),
                variables,
                X,
                train=False,
                initial_bases=np.ones(shape),
            )


def test_a_batch_without_images():
    variables = EMAU(num_bases=3).init(jax.random.key(0), X, train=False)
    assert EMAU(num_bases=3).apply(variables, X[:0], train=False).shape == (0, 5, 4)


MODEL = MODELS["emanet_tiny"](num_classes=3)
IMAGES = np.ones((1, 17, 17, 3), np.float32)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.ones((2, 3, 65, 65)), r"\(2, 3, 65, 65\), and in_channels=3; .*moveaxis"),
        (np.ones((2, 65, 65, 4)), r"in_channels=3; give \(B, H, W, 3\)"),
        (np.ones((65, 65, 3)), r"shape \(65, 65, 3\); give \(B, H, W, 3\)"),
        ([[1.0]], "images is a list; give an array, such as jnp.asarray"),
    ],
)
@pytest.mark.parametrize("model", [MODEL, MODEL.backbone], ids=["network", "backbone"])
def test_images_of_another_layout(model, images, words):
    """Channels first would make a stem of 65 channels, without a word."""
    with pytest.raises(ValueError, match=words) as error:
        model.init(jax.random.key(0), images, train=False)
    assert "\n" not in str(error.value)


def test_a_network_for_five_channels():
    model = MODELS["emanet_tiny"](num_classes=3, in_channels=5)
    kernel = variable_shapes(model)["params"]["backbone"]["stem_conv1"]["conv"]
    assert kernel["kernel"].shape == (3, 3, 5, 16)
    with pytest.raises(ValueError, match="in_channels=5"):
        model.init(jax.random.key(0), IMAGES, train=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_classes": 0}, "num_classes=0; give an integer of at least 1"),
        ({"num_classes": 2.0}, "num_classes=2.0; give an integer"),
        ({"width": 0}, "width=0; give an integer"),
        ({"stem_width": -8}, "stem_width=-8; give an integer"),
        ({"channels": 0}, "channels of 'reduce'=0; give an integer"),
        ({"hidden_channels": 0}, "channels=0; give an integer"),
        ({"dropout_rate": 2.0}, "dropout_rate=2.0; give a number from 0 to 1"),
    ],
)
def test_networks_of_no_size(options, words):
    with pytest.raises(ValueError, match=words):
        variable_shapes(MODELS["emanet_tiny"](**{"num_classes": 3, **options}))


@pytest.mark.parametrize("name", ["em", *CONTEXTS])
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones((2, 4, 4, 0)), "without a channel"),
        (np.ones((2, 4, 4, 8), np.int32), "x has type int32; convert"),
        ([[1.0]], "x is a list; give an array"),
    ],
)
def test_features_that_no_module_takes(name, x, words):
    module = {"em": EMAU, **CONTEXTS}[name]()
    with pytest.raises(ValueError, match=words):
        module.init(jax.random.key(0), x, train=False)


def test_lists_for_arrays():
    for arguments in ({"x": [[1.0]]}, {"bases": [[1.0]]}, {"mask": [True]}):
        [name] = arguments
        with pytest.raises(ValueError, match=f"{name} is a list; give an array"):
            em_attention(**{"x": X, "bases": BASES} | arguments)


@pytest.mark.parametrize("module", [EMAU(num_bases=3), CONTEXTS["non_local"](), MODEL])
def test_training_without_a_mutable_collection_says_what_to_write(module):
    x = IMAGES if module is MODEL else X
    variables = shapes(module, x)
    with pytest.raises(ValueError, match=r"write y, updates = model.apply\(.*mutable="):
        applied(module, variables, x, train=True)


def test_strict_promotion():
    """Features in bfloat16, statistics in float32, and nothing left to JAX."""
    x, mask = np.ones((2, 5, 4), jnp.bfloat16), np.ones((2, 5), bool)
    with jax.numpy_dtype_promotion("strict"):
        for dtype in (jnp.bfloat16, jnp.float32):
            names = ("non_local", "double_attention", "hamburger")
            for kind in (EMAU, *(CONTEXTS[name] for name in names)):
                run = partial(kind(dtype=dtype).init_with_output, train=True)
                y, _ = jax.eval_shape(run, jax.random.key(0), x, mask=mask)
                assert y.dtype == dtype
        options = {"kernel": "gaussian", "covariance": "diagonal", "mixing": "learned"}
        attended = jax.eval_shape(partial(em_attention, **options), x, BASES)
        assert attended.features.dtype == jnp.bfloat16
        trace = jax.eval_shape(em_trace, x, BASES, mask=mask)
        assert trace.entropy.dtype == jnp.float32
