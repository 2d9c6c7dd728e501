"""Attention of the non-local block against PyTorch's operator, and its memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.context import NonLocal
from ema_jax.context.non_local import present_first, softmax_attention
from tests.golden import context_cases
from tests.golden.context_cases import ATTENTION, ATTENTION_LENGTHS, ATTENTION_SCALES
from tests.golden.rebuild import golden, relative_error

MASK = np.arange(ATTENTION[1]) < np.array(ATTENTION_LENGTHS)[:, None]


def compare(scale, order=slice(None), **options):
    """Values and gradients of our attention against PyTorch's, keys in any order."""
    inputs = context_cases.attention_inputs()
    cotangent = inputs.pop("cotangent")
    inputs |= {name: inputs[name][:, order] for name in ("key", "value")}

    @jax.jit
    def both(inputs):
        y, pull = jax.vjp(
            lambda inputs: softmax_attention(
                **inputs, scale=scale, mask=MASK[:, order], **options
            ),
            inputs,
        )
        return y, pull(jnp.asarray(cotangent))[0]

    y, gradients = jax.device_get(both(inputs))
    expected = golden("context")
    assert relative_error(y, expected[f"attention/{scale}/output"]) < 1e-5
    for name, ours in gradients.items():
        theirs = expected[f"attention/{scale}/grad_{name}"]
        theirs = theirs if name == "query" else theirs[:, order]
        assert relative_error(ours, theirs) < 1e-5


@pytest.mark.parametrize(
    ("scale", "query_chunk"), [(ATTENTION_SCALES[0], None), (ATTENTION_SCALES[1], 5)]
)
def test_equals_scaled_dot_product_attention(scale, query_chunk):
    compare(scale, query_chunk=query_chunk)


def test_the_fused_kernel_gets_lengths(monkeypatch):
    """It is asked for by name, and the mask becomes a number of keys at the front."""
    reference = jax.nn.dot_product_attention
    asked = []

    def fused(*tensors, implementation, **options):
        asked.append((implementation, sorted(options)))
        return reference(*tensors, **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", fused)
    compare(1.0, order=np.arange(ATTENTION[1])[::-1], implementation="cudnn")
    assert asked == [("cudnn", ["key_value_seq_lengths", "scale"])]


def test_forwards_its_options(monkeypatch):
    asked = {}

    def recorded(query, key, value, **options):
        asked.update(options, queries=query.shape[1], type=query.dtype)
        return value[:, : query.shape[1]]

    monkeypatch.setattr(jax.nn, "dot_product_attention", recorded)
    block = NonLocal(implementation="xla", query_chunk=4, scale=0.5, dtype=jnp.bfloat16)
    x = np.ones((1, 8, 16), np.float32)
    jax.eval_shape(lambda key: block.init(key, x, train=False), jax.random.key(0))
    assert asked == {
        "scale": 0.5,
        "implementation": "xla",
        "queries": 4,
        "type": jnp.bfloat16,
    }


def test_chunks_need_no_square_of_the_tokens():
    length = 2048
    tokens = jax.ShapeDtypeStruct((1, length, 8), jnp.float32)

    def bytes_needed(query_chunk):
        def total(*qkv):
            return softmax_attention(*qkv, scale=1.0, query_chunk=query_chunk).sum()

        program = jax.jit(jax.grad(total, (0, 1, 2))).lower(tokens, tokens, tokens)
        return program.compile().memory_analysis().temp_size_in_bytes

    square = 4 * length**2
    assert bytes_needed(None) >= square
    assert bytes_needed(64) < square / 4


def test_starts_at_the_identity():
    x = context_cases.features("context.input", context_cases.SIZE)

    @jax.jit
    def init(key):
        return [NonLocal(zero_init=z).init(key, x, train=False) for z in (True, False)]

    made = jax.device_get(init(jax.random.key(0)))
    zero, one = (variables["params"] for variables in made)
    assert not np.any(zero["out"]["bn"]["scale"])
    assert not np.any(zero["out"]["bn"]["bias"])
    assert np.all(one["out"]["bn"]["scale"] == 1)
    kernel = one["query"]["kernel"]
    assert kernel.shape == (context_cases.CHANNELS, context_cases.CHANNELS // 2)
    assert 0.005 < np.std(kernel) < 0.015


def test_an_image_without_tokens_has_one_key_when_fused():
    """A softmax over no key is NaN; the key of zeros that stands in is not."""
    ones = np.ones((2, 3, 4), np.float32)
    mask = np.array([[False, False, False], [False, True, True]])
    key, value, lengths = jax.device_get(jax.jit(present_first)(ones, 2 * ones, mask))
    assert lengths.tolist() == [1, 2]
    np.testing.assert_array_equal(key[..., 0], [[0, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(value, 2 * key)
