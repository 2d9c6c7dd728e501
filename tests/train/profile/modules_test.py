"""The modules whose growth is measured."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from ema_jax.context import CONTEXTS, NoContext
from ema_jax.heads import PSAHead
from train.profile import growth, modules
from train.profile.modules import context_modules, inputs_of, kind
from train.profile.programs import Settings

CPU = jax.devices("cpu")[0]


def counted(kinds, sides, channels):
    return growth.measure(kinds, sides, channels, Settings(CPU, memory=False))


def test_non_local_attends_in_chunks_that_divide_the_pixels_almost():
    for side in (33, 65, 129, 257):
        chunk = context_modules(side, jnp.float32, CPU)["non_local"].query_chunk
        assert modules.QUERY_CHUNK / 2 < chunk <= modules.QUERY_CHUNK
        assert -(side**2) % chunk < 0.002 * side**2


def test_emau_and_every_rival_is_there():
    names = {kind(name) for name in context_modules(33, jnp.float32, CPU)}
    assert names == {"em", *CONTEXTS, "deeplabv3", "deeplabv3plus", "psa"}
    assert names == set(modules.KINDS)


def test_every_module_grows_as_its_paper_says():
    """Linear but for non-local, PSA, and criss-cross, N^1.5 for large images."""
    rows = counted(modules.KINDS, (33, 65, 129), 32)
    slopes = {row["module"]: row for row in growth.slopes(rows)}
    for name in ("non_local", "non_local, all at once"):
        assert slopes.pop(name)["multiply_adds"] == pytest.approx(2, abs=0.05)
    assert 1.5 < slopes.pop("psa")["multiply_adds"] < 2
    assert 1.2 < slopes.pop("criss_cross")["multiply_adds"] < 1.5
    assert "multiply_adds" not in slopes.pop("none")
    assert slopes.keys() >= {"em", "deeplabv3", "deeplabv3plus"}
    for name, row in slopes.items():
        assert row["multiply_adds"] == pytest.approx(1, abs=0.02), name


def test_multiply_adds_of_the_heads_by_hand():
    """5² pixels of 16 channels, beside 9² of 2, as the papers add them up."""
    found = {r["module"]: r["multiply_adds"] for r in counted(modules.HEADS, (5,), 16)}
    pyramid = 25 * (16 + 3 * 9 * 16 + 4 * 256) * 256
    pyramid += (16 + 25 * 256) * 256  # the pooled branch, and where it is projected
    assert found["deeplabv3"] == pyramid + 25 * 256 * 21
    refine = 9 * (256 + 48) * 256 + 9 * 256 * 256
    assert found["deeplabv3plus"] == pyramid + 81 * (2 * 48 + refine + 256 * 21)
    reduce, attend = 25 * 16 * 512, 9 * 512 * (512 + 5**2) + 9 * 9 * 512
    fuse = 25 * (9 * 32 * 512 + 512 * 21)
    assert found["psa"] == 2 * (reduce + attend) + 9 * 1024 * 16 + fuse


def test_the_map_of_psa_reaches_from_end_to_end():
    """Features of 9 × 9 are 5 × 5 when halved: offsets from -4 to 4."""
    head = context_modules(9, jnp.float32, CPU)["psa"]
    assert isinstance(head, PSAHead)
    assert head.map_size == 9
    [features] = inputs_of(head, 9, 8, jnp.bfloat16)
    assert features.x.shape == (1, 9, 9, 8)
    assert features.x.dtype == jnp.bfloat16


def test_psa_that_does_not_fit_says_so(monkeypatch):
    monkeypatch.setattr("train.profile.programs.free_memory", lambda device: 1)
    [row] = growth.measure(("psa",), (3,), 4, Settings(CPU, runs=1))
    assert row["latency_median"] == "does not fit"
    assert row["memory"] > 1


def device(platform, version):
    """What `context_modules` asks of one that is not here."""
    client = SimpleNamespace(platform_version=version)
    return SimpleNamespace(platform=platform, client=client)


@pytest.mark.parametrize(
    ("here", "dtype", "others"),
    [
        (CPU, jnp.float32, {"all at once"}),
        (CPU, jnp.bfloat16, {"all at once"}),
        (device("tpu", "TPU v5"), jnp.bfloat16, {"in chunks"}),
        (device("gpu", "cuda 12090"), jnp.float32, {"in chunks"}),
        (device("gpu", "rocm 60000"), jnp.bfloat16, {"in chunks"}),
        (device("gpu", "cuda 12090"), jnp.bfloat16, {"in chunks", "fused"}),
    ],
)
def test_the_ways_of_non_local_follow_the_device(here, dtype, others):
    found = context_modules(65, dtype, here)
    names = {name for name in found if kind(name) == "non_local"}
    others = {f"non_local, {way}" for way in {*others, "dot product"}}
    assert names == {"non_local", *others}
    assert (found["non_local"].query_chunk is None) == (here.platform != "cpu")
    if "non_local, fused" in names:
        assert found["non_local, fused"].implementation == "cudnn"
        assert found["non_local, fused"].query_chunk is None


def test_a_kernel_that_does_not_take_the_size_is_left_out(monkeypatch, caplog):
    class Refuses(NoContext):
        def __call__(self, x, *, train, mask=None):
            raise NotImplementedError("The head dim must be <= 128")

    def two(side, dtype, device):
        return {"none": NoContext(), "non_local, fused": Refuses()}

    monkeypatch.setattr(growth, "context_modules", two)
    assert [row["module"] for row in counted(modules.KINDS, (3,), 4)] == ["none"]
    assert "non_local, fused is left out: The head dim must be" in caplog.text
