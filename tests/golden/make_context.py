"""Writes context.npz: the context modules, from a PyTorch build of each paper.

    python tests/golden/make_context.py

Needs torch. Computed in float64 and stored as float32, as in make.py. The modules are
those of peer_context.py; {case} is a name of context_cases.CASES, {weight} one of its
shapes. Activations are channels last.

  {case}/eval/output [B, H, W, C]
  {case}/train/output, grad_input [B, H, W, C]: of sum(output · cotangent)
  {case}/train/grad/{weight}: of the parameters, as PyTorch lays them out
  {case}/train/state/{weight}: running statistics and bases after it; the variance is
    the biased one, which Flax keeps
  {case}/ragged/output{i}, grad_input{i} [1, h, w, C], state/{weight}: a training step
    on images of several sizes that share one BatchNorm
  attention/{scale}/output, grad_query, grad_key, grad_value [B, N, D]: PyTorch's own
    scaled_dot_product_attention, with a mask of keys
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import context_cases, peer_context
from tests.golden.context_cases import BN_MOMENTUM, CASES, Case
from tests.golden.make import (
    Arrays,
    array,
    channels_first,
    channels_last,
    discrepancy,
    save,
    tensor,
)

ROUNDING = 1e-9
"""Gradients below are zero in theory: of a bias that BN or a softmax takes away."""


def build(case: Case, dtype: torch.dtype) -> torch.nn.Module:
    module = peer_context.KINDS[case.kind](**case.options)
    state = {name: tensor(x) for name, x in context_cases.weights(case).items()}
    missing = module.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    return module.to(dtype)


def state_after(module: torch.nn.Module, case: Case, pixels: int) -> Arrays:
    """Running statistics, with the variance that has n for its divisor, and bases."""
    out = {}
    before = context_cases.weights(case)
    for name, x in module.named_buffers():
        if name.endswith("running_var"):
            kept = (1 - BN_MOMENTUM) * tensor(before[name]).to(x)
            x = kept + (x - kept) * (pixels - 1) / pixels
        if not name.endswith("num_batches_tracked"):
            out[f"state/{name}"] = array(x)
    return out


def plain(case: Case, dtype: torch.dtype) -> Arrays:
    size, batch = context_cases.SIZE, context_cases.BATCH
    x = channels_first(context_cases.features("context.input", size, batch), dtype)
    cotangent = context_cases.features("context.cotangent", size, batch)
    out = {"eval/output": channels_last(build(case, dtype).eval()(x))}
    module = build(case, dtype).train()
    x.requires_grad_()
    y = module(x)
    torch.sum(y * channels_first(cotangent, dtype)).backward()
    trained = {"output": channels_last(y), "grad_input": channels_last(x.grad)}
    for name, parameter in module.named_parameters():
        trained[f"grad/{name}"] = array(parameter.grad)
    trained |= state_after(module, case, batch * size[0] * size[1])
    return out | {f"train/{key}": value for key, value in trained.items()}


def ragged(case: Case, dtype: torch.dtype) -> Arrays:
    images = [channels_first(x, dtype) for x in context_cases.ragged("context.ragged")]
    cotangents = context_cases.ragged("context.cotangent")
    for x in images:
        x.requires_grad_()
    module = build(case, dtype).train()
    outputs = module.ragged(images)
    sum(
        torch.sum(y * channels_first(c, dtype))
        for y, c in zip(outputs, cotangents, strict=True)
    ).backward()
    out = state_after(module, case, context_cases.num_tokens())
    for i, (x, y) in enumerate(zip(images, outputs, strict=True)):
        out[f"output{i}"] = channels_last(y)
        out[f"grad_input{i}"] = channels_last(x.grad)
    return {f"ragged/{key}": value for key, value in out.items()}


def attention(dtype: torch.dtype) -> Arrays:
    lengths = torch.tensor(context_cases.ATTENTION_LENGTHS)
    mask = torch.arange(context_cases.ATTENTION[1]) < lengths[:, None]
    out = {}
    for scale in context_cases.ATTENTION_SCALES:
        inputs = {
            name: tensor(x, dtype)
            for name, x in context_cases.attention_inputs().items()
        }
        cotangent = inputs.pop("cotangent")
        for x in inputs.values():
            x.requires_grad_()
        y = torch.nn.functional.scaled_dot_product_attention(
            *inputs.values(), attn_mask=mask[:, None], scale=scale
        )
        torch.sum(y * cotangent).backward()
        out[f"attention/{scale}/output"] = array(y)
        for name, x in inputs.items():
            out[f"attention/{scale}/grad_{name}"] = array(x.grad)
    return out


def goldens(dtype: torch.dtype) -> Arrays:
    out = attention(dtype)
    for name, case in CASES.items():
        found = plain(case, dtype) | ragged(case, dtype)
        out |= {f"{name}/{key}": value for key, value in found.items()}
    return out


def main() -> None:
    torch.use_deterministic_algorithms(True)
    double = goldens(torch.float64)
    moving = {key: x for key, x in double.items() if np.abs(x).max() > ROUNDING}
    largest, key = discrepancy(goldens(torch.float32), moving)
    print(f"float32 against float64 in torch: {largest:.1e} at {key}")
    for key, x in double.items():
        print(f"{key} {x.shape}: rms {np.sqrt(np.mean(x**2)):.3f}")
    save("context", double)


if __name__ == "__main__":
    main()
