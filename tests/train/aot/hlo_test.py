"""Texts of programs, taken apart."""

import pytest

from train.aot.hlo import Buffer, array_bytes, buffers, parse

PROGRAM = """\
HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%double (p: f32[4]) -> f32[4] {
  %p = f32[4]{0:T(128)S(1)} parameter(0)
  ROOT %sum.1 = f32[4]{0:T(128)} add(%p, %p), metadata={op_name="jit(f)/body/add"}
}

ENTRY %main.7_spmd (x: f32[4]) -> (f32[4], f32[4]) {
  %x = f32[4]{0:T(128)} parameter(0), metadata={op_name="state.params['w']"}
  %y = f32[4]{0:T(128)} fusion(%x), kind=kLoop, calls=%double
  %z = f32[4]{0} conditional(%x, %y), branch_computations={%double, %other.2}
  %w = (f32[4]{0}, /*index=1*/s32[]) while(%z), condition=%test, body=%double
  ROOT %all = (f32[4]{0:T(128)}, f32[4]{0}) tuple(%y, f32[4]{0} %z)
}
"""


def test_computations_and_instructions():
    program = parse(PROGRAM)
    assert program.entry == "main.7_spmd"
    assert [name for name, _ in program] == ["double"] * 2 + ["main.7_spmd"] * 5
    main = program.computations["main.7_spmd"]
    assert [i.kind for i in main.values()] == [
        "parameter",
        "fusion",
        "conditional",
        "while",
        "tuple",
    ]
    assert [name for name, i in main.items() if i.root] == ["all"]
    assert main["all"].operands == ("y", "z")
    assert main["y"].operands == ("x",)
    assert main["y"].called("calls") == ["double"]
    assert main["z"].called("branch_computations") == ["double", "other.2"]
    assert main["w"].called("body", "condition") == ["test", "double"]
    assert main["y"].called("body") == []
    assert main["x"].source == "state.params['w']"
    assert main["y"].source == ""
    assert program.computations["double"]["sum.1"].source == "jit(f)/body/add"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("bf16[3,5]{1,0}", Buffer(30, 30, 0, "bf16", (3, 5))),
        (
            "bf16[3,5]{1,0:T(8,128)(2,1)S(1)}",
            Buffer(30, 8 * 128 * 2, 1, "bf16", (3, 5)),
        ),
        # the last axis in memory is the first of the order
        (
            "f32[65,4,200]{0,2,1:T(8,128)}",
            Buffer(208000, 128 * 200 * 4 * 4, 0, "f32", (65, 4, 200)),
        ),
        ("f32[300]{0:T(256)}", Buffer(1200, 2048, 0, "f32", (300,))),
        ("f32[]{:T(128)}", Buffer(4, 4, 0, "f32", ())),
        ("u32[]{:S(2)}", Buffer(4, 4, 2, "u32", ())),
    ],
)
def test_where_an_array_lies(shape, expected):
    assert buffers(shape) == [expected]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("f32[]", 4),
        ("bf16[3,5]{1,0:T(8,128)(2,1)}", 30),
        ("s32[7]{0}", 28),
        ("pred[2,2]", 4),
        ("f8e4m3fn[10]", 10),
        ("s4[5]{0:E(4)}", 3),
        ("c64[2]", 16),
        ("f32[<=8,2]", 64),
        ("f32[0,7]", 0),
        ("token[]", 0),
        ("()", 0),
        ("((f32[2]{0}, u8[3]{0}), bf16[4]{0}, u32[])", 8 + 3 + 8 + 4),
    ],
)
def test_bytes_of_shapes(shape, size):
    assert array_bytes(shape) == size
