"""How many updates a config asks for, and when it evaluates."""

import pytest

from configs import default
from train.configuration.config import apply_override
from train.training.length import training_length


@pytest.mark.parametrize(
    ("num_images", "overrides", "num_steps", "evaluate_every"),
    [
        (20, [], 30_000, 2_000),
        (20, ["batch_size=8", "num_epochs=1"], 3, 2_000),
        (20, ["batch_size=8", "num_epochs=100"], 250, 2_000),
        (20, ["batch_size=8", "num_epochs=0.5"], 2, 2_000),
        (10_582, ["num_epochs=45.36"], 30_000, 2_000),
        (3, ["num_epochs=10", "min_steps=200"], 200, 2_000),
        (1_000, ["num_epochs=10", "min_steps=200"], 625, 2_000),
        (1_000, ["num_epochs=10", "max_steps=600"], 600, 2_000),
        (20, ["min_steps=99", "max_steps=9"], 30_000, 2_000),  # of num_epochs alone
        (20, ["evaluation.times=10"], 30_000, 3_000),
        (20, ["num_epochs=20", "evaluation.times=10"], 25, 3),
        (20, ["num_epochs=1", "evaluation.times=10"], 2, 1),
    ],
)
def test_length(num_images, overrides, num_steps, evaluate_every):
    config = default.get_config()
    for override in overrides:
        apply_override(config, f"--config.{override}")
    assert training_length(config, num_images) == (num_steps, evaluate_every)
