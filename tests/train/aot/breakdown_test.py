"""Bytes of a text by part and kind, and the least they could be."""

import jax
import jax.numpy as jnp
import pytest
from flax import struct
from jax import lax

from train.aot.bound import least
from train.aot.breakdown import break_down, kind_rows, part_rows
from train.aot.hlo import parse
from train.aot.parts import KINDS, PARTS, kind_of, part_of, sources

FORWARD = 'metadata={op_name="jit(step)/jvp(Net)/backbone/stage1/conv1/conv/conv"}'
STATISTICS = 'metadata={op_name="jit(step)/transpose(jvp(Net))/head/x/bn/reduce_sum"}'
CYCLES = 'backend_config={"window_config":{"estimated_cycles":"70"}}'

PROGRAM = f"""\
%inner (p: f32[8]) -> f32[8] {{
  %p = f32[8]{{0}} parameter(0)
  ROOT %c = f32[8]{{0}} convolution(%p, %p), window={{}}, dim_labels=b0f_0io->b0f
}}

%convolved (q: f32[8]) -> f32[8] {{
  %q = f32[8]{{0}} parameter(0)
  ROOT %f = f32[8]{{0}} fusion(%q), kind=kOutput, calls=%inner
}}

%summed (r: f32[8], z: f32[]) -> f32[] {{
  %r = f32[8]{{0}} parameter(0)
  %z = f32[] parameter(1)
  ROOT %sum = f32[] reduce(%r, %z), dimensions={{0}}, to_apply=%add
}}

%turned (t: f32[8]) -> f32[8] {{
  %t = f32[8]{{0}} parameter(0)
  ROOT %r.1 = f32[8]{{0}} reverse(%t), dimensions={{0}}
}}

ENTRY %main (x: f32[8], zero: f32[]) -> f32[8] {{
  %x = f32[8]{{0}} parameter(0)
  %zero = f32[] parameter(1)
  %begun = (f32[8]{{0:S(1)}}, f32[8]{{0}}, u32[]) copy-start(%x)
  %near = f32[8]{{0:S(1)}} copy-done(%begun)
  %conv = f32[8]{{0}} fusion(%near), kind=kOutput, calls=%convolved, {FORWARD}, {CYCLES}
  %total = f32[] fusion(%conv, %zero), kind=kLoop, calls=%summed, {STATISTICS}
  %all = f32[] all-reduce(%total), to_apply=%add
  %back = f32[8]{{0}} fusion(%conv), kind=kLoop, calls=%turned
  ROOT %y = f32[8]{{0}} negate(%back), metadata={{op_name="jit(step)/neg"}}
}}
"""


def test_a_text_by_part_and_kind():
    found = break_down(parse(PROGRAM))
    assert found.cycles == 70
    assert found.parts == {
        "backbone, forward": 4 * 32 + 2 * 32,  # and what is fetched for it
        "head, backward": (32 + 4 + 4) + 2 * 4,  # and what becomes of it
        "optimiser and rest": 2 * 32 + 2 * 32,
    }
    assert found.kinds == {
        "on and off the chip": 4 * 32,
        "convolution": 2 * 32,
        "BN statistics": 32 + 4 + 4,
        "exchange": 2 * 4,
        "layout": 2 * 32,
        "elementwise": 2 * 32,
    }
    assert (
        found.hbm_kinds["on and off the chip"] == found.hbm_kinds["convolution"] == 32
    )
    assert (found.counted, found.hbm) == (368, 368 - 3 * 32 - 32)


def test_the_rows():
    found = break_down(parse(PROGRAM))
    rows = part_rows(found, {"optimiser and rest": 5, "EM": 2})
    assert [row["name"] for row in rows] == [*PARTS, "all"]
    assert rows[-2:] == [
        {"name": "optimiser and rest", "counted": 128, "hbm": 128, "least": 5},
        {"name": "all", "counted": 368, "hbm": 240, "least": 7},
    ]
    assert {row["least"] for row in part_rows(found, {})} == {None}
    assert [row["name"] for row in kind_rows(found)] == [*KINDS]


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("jit(f)/jvp(Segmenter)/backbone/backbone._stem/reduce_max", PARTS[0]),
        ("jit(f)/jvp(Segmenter)/head/reduce/bn/add", PARTS[2]),
        ("jit(f)/transpose(jvp(Segmenter))/auxiliary_head/conv/add_any", PARTS[3]),
        ("jit(f)/jvp(Segmenter)/head/context/conv1/dot_general", PARTS[2]),
        ("jit(f)/jvp(Segmenter)/head/context/jit(relu)/max", PARTS[2]),
        ("jit(f)/jvp(Segmenter)/head/context/nc,kc->nk/dot_general", "EM"),
        ("jit(f)/jvp()/shard_map/_confusion.<locals>.count/reduce", PARTS[5]),
        ("jit(f)/mul", PARTS[6]),
        ("", PARTS[6]),
    ],
)
def test_parts(source, part):
    assert part_of(source) == part


@struct.dataclass
class State:
    params: dict
    opt_state: tuple


def test_the_least_by_hand():
    """A 3×3 convolution in bfloat16 and its gradients, a product in a loop; SGD."""

    def loss(params, x):
        with jax.named_scope("head/"):
            kernel = params["kernel"].astype(jnp.bfloat16)
            x = lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        x = lax.fori_loop(0, 3, lambda _, x: x @ jnp.ones((4, 4), x.dtype), x)
        return jax.nn.relu(x).sum().astype(jnp.float32)

    def step(state, x):
        return jax.grad(loss, (0, 1))(state.params, x)

    kernel = jax.ShapeDtypeStruct((3, 3, 2, 4), jnp.float32)
    x = jax.ShapeDtypeStruct((5, 7, 7, 2), jnp.bfloat16)
    state = State({"kernel": kernel}, ({"kernel": kernel},))
    found = least(step, state, x)
    pixels, weights = 5 * 7 * 7, 3 * 3 * 2 * 4
    convolution = 2 * (pixels * 2 + weights + pixels * 4)
    assert found["head, forward"] == convolution
    assert found["head, backward"] == 2 * convolution
    product = 2 * (pixels * 4 + 16 + pixels * 4)
    assert found["resize and loss"] == 2 * product  # and its gradient
    assert found["optimiser and rest"] == 5 * 4 * weights
    assert found.total() == 3 * convolution + 2 * product + 20 * weights


def test_copies_are_for_what_uses_them():
    program = parse(PROGRAM)
    found = sources(program.computations["main"])
    assert found["begun"].endswith("conv1/conv/conv")
    assert found["back"] == "jit(step)/neg"
    assert found["all"].endswith("bn/reduce_sum")


def test_statistics_are_of_batch_normalisation():
    program = parse(PROGRAM)
    total = program.computations["main"]["total"]
    assert kind_of(program, total, "jit(f)/jvp(Net)/head/reduce_sum") == "elementwise"
