"""Collectives counted in texts by hand, and in a program of known bytes."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from train.aot.collectives import KINDS, Collective, collectives, tally
from train.aot.hlo import parse
from train.devices.mesh import make_mesh

PROGRAM = """\
HloModule jit_step, is_scheduled=true, input_output_alias={ {0}: (0, {}, may-alias) }

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%fused (p0: bf16[8,128]) -> bf16[8,128] {
  %p0 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %inner = bf16[8,128]{1,0:T(8,128)(2,1)} all-reduce(%p0), to_apply=%add
}

%fused_chain.1 (p1: f32[2,4]) -> f32[8,4] {
  %p1 = f32[2,4]{1,0} parameter(0)
  ROOT %begun = f32[8,4]{1,0} all-gather(%p1), channel_id=7, dimensions={0}, \
frontend_attributes={chain_id="0"}
}

%fused_chain.2 (p2: f32[2,4]) -> f32[8,4] {
  %p2 = f32[2,4]{1,0} parameter(0)
  ROOT %ended = f32[8,4]{1,0} all-gather(%p2), channel_id=7, dimensions={0}, \
frontend_attributes={chain_id="0"}
}

%all-reduce-scatter.8 (input_0: f32[8], input_1: bf16[16]) -> (f32[1], bf16[2]) {
  %input_0 = f32[8]{0} parameter(0)
  %input_1 = bf16[16]{0} parameter(1)
  %all-reduce.9 = (f32[8]{0}, bf16[16]{0}) all-reduce(%input_0, %input_1), channel_id=8
  %all-reduce.10 = f32[8]{0} get-tuple-element(%all-reduce.9), index=0
}

%body (state: (s32[], f32[16])) -> (s32[], f32[16]) {
  %state = (s32[], f32[16]) parameter(0)
  %row = f32[16]{0} get-tuple-element(%state), index=1
  %turned = f32[16]{0} collective-permute(%row), source_target_pairs={{0,1},{1,0}}
  ROOT %next = (s32[], f32[16]) tuple(%state, %turned)
}

ENTRY %main (x: f32[4,3], n: s32[7], m: pred[10]) -> (f32[4,3], f32[32,3]) {
  %x = f32[4,3]{1,0} parameter(0)
  %n = s32[7]{0} parameter(1)
  %m = pred[10]{0} parameter(2)
  %both = (f32[4,3]{1,0:T(4,128)S(1)}, s32[7]{0}, /*index=2*/pred[10]{0}) \
all-reduce(%x, %n, /*index=2*/%m), channel_id=1, replica_groups=[1,8]<=[8], \
to_apply=%add, metadata={op_name="jit(step)/psum all-reduce(%x)"}
  %first = f32[4,3]{1,0} get-tuple-element(%both), index=0
  %all-reduce-start = f32[4,3]{1,0} all-reduce-start(%first), to_apply=%add
  %all-reduce-done = f32[4,3]{1,0} all-reduce-done(%all-reduce-start)
  %gather = ((f32[4,3]{1,0}), f32[32,3]{1,0}) all-gather-start(%x), dimensions={0}
  %gathered = f32[32,3]{1,0} all-gather-done(%gather)
  %scattered = f32[4,3]{1,0} reduce-scatter(%gathered), dimensions={0}, to_apply=%add
  %send = (f32[4,3]{1,0}, f32[4,3]{1,0}, u32[]{:S(2)}, u32[]{:S(2)}) \
collective-permute-start(%scattered), source_target_pairs={{0,1}}
  %sent = f32[4,3]{1,0} collective-permute-done(%send)
  %all-to-all.1 = f32[32,3]{1,0} all-to-all(%gathered), dimensions={0}
  %named = f32[4,3]{1,0} add(%all-reduce-done, %sent), metadata={op_name="all-reduce"}
  ROOT %result = (f32[4,3]{1,0}, f32[32,3]{1,0}) tuple(%named, %all-to-all.1)
}
"""

X, GATHERED = 4 * 3 * 4, 32 * 3 * 4


def tallied(text):
    """Count and bytes by kind."""
    return {k: (t.count, t.size) for k, t in tally(collectives(parse(text))).items()}


def test_a_program_counted_by_hand():
    assert collectives(parse(PROGRAM)) == [
        Collective("all-reduce", 8 * 128 * 2),  # in a fusion
        Collective("all-gather", 8 * 4 * 4),  # in two pieces
        Collective("reduce-scatter", 8 * 4 + 16 * 2),  # as a fusion
        Collective("collective-permute", 16 * 4),  # in a loop
        Collective("all-reduce", X + 7 * 4 + 10),  # of a tuple
        Collective("all-reduce", X),  # in two halves
        Collective("all-gather", GATHERED),
        Collective("reduce-scatter", GATHERED),
        Collective("collective-permute", X),
        Collective("all-to-all", GATHERED),
    ]
    assert tallied(PROGRAM) == {
        "all-reduce": (3, 2048 + X + 38 + X),
        "all-gather": (2, 128 + GATHERED),
        "reduce-scatter": (2, 64 + GATHERED),
        "collective-permute": (2, 64 + X),
        "all-to-all": (1, GATHERED),
    }


def test_a_program_without_any():
    text = "%x = f32[3]{0} parameter(0)\n%y = f32[3]{0} add(%x, %x)"
    assert collectives(parse(text)) == []
    assert tallied(text) == dict.fromkeys(KINDS, (0, 0))


def test_a_real_program():
    """On eight devices; each holds 48 numbers of 4 bytes."""
    mesh = make_mesh()
    axis, everywhere = "data", PartitionSpec()

    def exchange(x):
        summed = lax.psum(jnp.sin(x), axis)
        gathered = lax.all_gather(jnp.cos(x), axis, tiled=True)
        scattered = lax.psum_scatter(jnp.exp(x), axis, scatter_dimension=1, tiled=True)
        passed = lax.ppermute(jnp.tan(x), axis, [(i, (i + 1) % 8) for i in range(8)])
        swapped = lax.all_to_all(x * x, axis, split_axis=1, concat_axis=1, tiled=True)
        return summed, gathered, scattered, passed, swapped

    split = PartitionSpec(axis)
    program = jax.shard_map(
        exchange,
        mesh=mesh.mesh,
        in_specs=split,
        out_specs=(everywhere, everywhere, split, split, split),
        check_vma=False,
    )
    x = jax.ShapeDtypeStruct((8, 48), jnp.float32)
    text = jax.jit(program).lower(x).compile().as_text()
    assert tallied(text) == {
        "all-reduce": (1, 48 * 4),
        "all-gather": (1, 8 * 48 * 4),
        "reduce-scatter": (1, 48 * 4),
        "collective-permute": (1, 48 * 4),
        "all-to-all": (1, 48 * 4),
    }
