"""PyTorch's side of a comparison: the same networks, eager and compiled."""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from tests.golden import peer

Call = Callable[[], object]

SIZES = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3), "tiny": (1, 1, 2, 1)}
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def network(name: str, num_classes: int = 21) -> peer.EMANet:
    """The EMANet of a backbone of `MODELS`."""
    sizes = SIZES[name]
    if name != "tiny":
        return peer.EMANet(sizes, num_classes=num_classes)
    peer.STEM_CHANNELS["tiny"] = (16, 16, 32)
    model = peer.EMANet(
        sizes,
        stem="tiny",
        base_width=16,
        channels=64,
        num_bases=16,
        num_classes=num_classes,
    )
    model.fc1[0] = peer.ConvBNReLU(64, 64)
    model.fc2 = torch.nn.Conv2d(64, num_classes, 1)
    return model


def modes(
    name: str, device: str = "cpu"
) -> Iterator[tuple[str, peer.EMANet, torch.memory_format]]:
    """The network in both layouts, eager and compiled, by name."""
    for layout, memory in LAYOUTS.items():
        for compiles in (False, True):
            model = network(name).to(device).to(memory_format=memory)
            if compiles:
                model.compile()
            yield f"PyTorch, {layout}{', compiled' * compiles}", model, memory


def inferences(
    name: str, shape: tuple[int, int, int], device: str = "cpu", dtype=torch.float32
) -> dict[str, Call]:
    """Calls that give the logits (B, classes, H, W) of images, and wait for them."""
    batch, height, width = shape
    calls: dict[str, Call] = {}
    for mode, model, memory in modes(name, device):
        images = torch.rand(batch, 3, height, width, device=device)
        images = images.contiguous(memory_format=memory)
        model.eval()

        def call(model, images) -> None:
            with torch.inference_mode(), torch.autocast(device, dtype, _lower(dtype)):
                model(images)
            wait(device)

        calls[mode] = partial(call, model, images)
    return calls


def updates(
    name: str, shape: tuple[int, int, int], device: str = "cpu", dtype=torch.float32
) -> dict[str, Call]:
    """Calls that take a step of SGD, and wait for it."""
    batch, height, width = shape
    calls: dict[str, Call] = {}
    for mode, model, memory in modes(name, device):
        images = torch.rand(batch, 3, height, width, device=device)
        images = images.contiguous(memory_format=memory)
        labels = torch.randint(21, (batch, height, width), device=device)
        optimizer = peer.make_optimizer(model.train())

        def call(model, optimizer, images, labels) -> None:
            with torch.autocast(device, dtype, _lower(dtype)):
                loss = peer.segmentation_loss(model(images), labels, "all_pixels")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            wait(device)

        calls[mode] = partial(call, model, optimizer, images, labels)
    return calls


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def _lower(dtype: torch.dtype) -> bool:
    return dtype != torch.float32
