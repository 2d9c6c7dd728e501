"""Bytes that programs move, counted by hand and by the compiler."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from train.aot.hlo import parse
from train.aot.traffic import moves

PROGRAM = """\
%sliced (p0: f32[8,128], p1: f32[8,128], i: s32[]) -> f32[8,128] {
  %p0 = f32[8,128]{1,0} parameter(0)
  %p1 = f32[8,128]{1,0:S(1)} parameter(1)
  %i = s32[] parameter(2)
  %zero = s32[] constant(0)
  %one = f32[2,128]{1,0} slice(%p1), slice={[0:2], [0:128]}
  ROOT %put = f32[8,128]{1,0} dynamic-update-slice(%p0, %one, %i, %zero)
}

%body (state: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %state = (s32[], f32[8,128]) parameter(0)
  %n = s32[] get-tuple-element(%state), index=0
  %s = f32[8,128]{1,0:S(1)} get-tuple-element(%state), index=1
  %sine = f32[8,128]{1,0:S(1)} sine(%s)
  ROOT %next = (s32[], f32[8,128]) tuple(%n, %sine)
}

%test (state.1: (s32[], f32[8,128])) -> pred[] {
  %state.1 = (s32[], f32[8,128]) parameter(0)
  %n.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %less = pred[] compare(%n.1, %n.1), direction=LT
}

ENTRY %main (x: f32[8,128], half: bf16[4,130], i: s32[]) -> f32[8,128] {
  %x = f32[8,128]{1,0} parameter(0)
  %half = bf16[4,130]{1,0:T(8,128)(2,1)} parameter(1)
  %i = s32[] parameter(2)
  %far = (f32[8,128]{1,0:S(1)}, f32[8,128]{1,0}, u32[]{:S(2)}) copy-start(%x)
  %near = f32[8,128]{1,0:S(1)} copy-done(%far)
  %piece = ((f32[8,128]{1,0}), f32[2,128]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%x)
  %pieced = f32[2,128]{1,0:S(1)} slice-done(%piece)
  %joined = f32[2,128]{1,0:S(1)} custom-call(%pieced), custom_call_target="Join"
  %put = f32[8,128]{1,0} fusion(%x, %near, %i), kind=kLoop, calls=%sliced
  %again = (s32[], f32[8,128]) while(%put), condition=%test, body=%body
  ROOT %twice = bf16[4,130]{1,0:T(8,128)(2,1)S(1)} add(%half, %half)
}
"""

X, TILED = 8 * 128 * 4, 8 * 256 * 2
PIECE = X // 4


def test_a_program_counted_by_hand():
    found = {m.instruction.name: (m.counted, m.hbm) for m in moves(parse(PROGRAM))}
    assert found == {
        "far": (4 * X, X),
        "piece": (3 * PIECE, PIECE),
        "joined": (0, 0),
        "put": (2 * PIECE + 4, PIECE + 4),  # in place
        "less": (9, 9),
        "sine": (2 * X, 0),
        "twice": (3 * TILED, 2 * TILED),
    }


def network(kernels, x):
    for kernel in kernels:
        x = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        mean = x.mean((0, 1, 2))
        x = jax.nn.relu((x - mean) * lax.rsqrt(jnp.square(x - mean).mean((0, 1, 2))))
    return jnp.square(x).sum()


def loop(x, table):
    def put(i, table):
        return lax.dynamic_update_slice(table, jnp.sin(x) + table[i], (i, 0))

    return lax.fori_loop(0, 5, put, table)


SHAPES = {
    "convolutions": (jax.grad(network), [(3, 3, 8, 8), (1, 1, 8, 8)], (2, 17, 17, 8)),
    "loop": (loop, (1, 300), (50, 300)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_compiler_counts_the_same(name):
    function, *shapes = SHAPES[name]
    arguments = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        shapes,
        is_leaf=lambda shape: isinstance(shape, tuple),
    )
    compiled = jax.jit(function).lower(*arguments).compile()
    counted = sum(move.counted for move in moves(parse(compiled.as_text())))
    assert counted == pytest.approx(
        compiled.cost_analysis()["bytes accessed"], rel=0.01
    )
