"""Stochastic gradient descent, against PyTorch's written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import default
from ema_jax import EMANet
from tests.quick import run
from train.update.optimizer import make_optimizer, parameter_group, poly_schedule, sgd

SHAPES = {
    ("backbone", "conv", "kernel"): (3, 4),
    ("backbone", "norm", "scale"): (4,),
    ("backbone", "norm", "bias"): (4,),
    ("head", "context", "conv1", "kernel"): (4, 4),
    ("head", "context", "conv1", "bias"): (4,),
    ("head", "context", "conv2", "kernel"): (4, 4),
    ("head", "classifier", "bias"): (2,),
}
FROZEN = [("head", "context", "conv1")]
WEIGHT, SCALE, BIAS = list(SHAPES)[:3]


def draw(seed):
    rng = np.random.default_rng(seed)
    return {path: rng.normal(size=shape) for path, shape in SHAPES.items()}


def nested(flat):
    tree: dict = {}
    for path, value in flat.items():
        holder = tree
        for key in path[:-1]:
            holder = holder.setdefault(key, {})
        holder[path[-1]] = np.asarray(value, np.float32)
    return tree


def flattened(tree):
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {tuple(entry.key for entry in path): leaf for path, leaf in leaves}


def descend(optimizer, gradients):
    """The parameters after a step with each of `gradients`."""

    @jax.jit
    def step(gradient, state, params):
        updates, state = optimizer.update(gradient, state, params)
        return state, optax.apply_updates(params, updates)

    params = nested(draw(0))
    state = run(optimizer.init, params)
    for gradient in gradients:
        state, params = step(nested(gradient), state, params)
    return flattened(jax.device_get(params))


def descend_as_pytorch(
    gradients, *, rates, momentum, weight_decay, bias_rate, backbone_rate
):
    """torch.optim.SGD over six groups; the frozen parameters in none of them."""
    params = draw(0)
    for path, value in params.items():
        if path[:3] in FROZEN:
            continue
        factor = bias_rate if path[-1] == "bias" else 1
        factor *= backbone_rate if path[0] == "backbone" else 1
        decay = weight_decay if path[-1] == "kernel" else 0
        buffer = None
        for gradient, rate in zip(gradients, rates, strict=True):
            slope = gradient[path] + decay * value
            buffer = slope if buffer is None else momentum * buffer + slope
            value = value - rate * factor * buffer
        params[path] = value
    return params


def constant(rate):
    return lambda count: rate


def test_steps_follow_pytorch():
    rates = [0.3, 0.2, 0.2, 0.05, 0.01, 0.4]
    gradients = [draw(seed) for seed in range(1, 7)]
    options = {"momentum": 0.8, "weight_decay": 0.03}
    options |= {"bias_rate": 3.0, "backbone_rate": 0.2}
    optimizer = sgd(lambda count: jnp.array(rates)[count], frozen=FROZEN, **options)
    actual = descend(optimizer, gradients)
    for path, wanted in descend_as_pytorch(gradients, rates=rates, **options).items():
        np.testing.assert_allclose(
            actual[path], wanted, rtol=1e-5, atol=1e-6, err_msg=str(path)
        )


def test_only_weights_decay():
    still = {path: np.zeros(shape) for path, shape in SHAPES.items()}
    optimizer = sgd(constant(0.5), weight_decay=0.1, momentum=0, frozen=FROZEN)
    after = descend(optimizer, [still])
    for path, before in draw(0).items():
        decays = path[-1] == "kernel" and path[:3] not in FROZEN
        factor = 1 - 0.5 * 0.1 if decays else 1
        np.testing.assert_allclose(after[path], factor * before, rtol=1e-6)


def test_biases_move_at_twice_the_rate():
    gradient = draw(1)
    optimizer = sgd(constant(0.5), weight_decay=0)
    after, before = descend(optimizer, [gradient]), draw(0)
    for path, factor in {WEIGHT: 1, SCALE: 1, BIAS: 2}.items():
        np.testing.assert_allclose(
            after[path], before[path] - 0.5 * factor * gradient[path], rtol=1e-5
        )


def test_the_buffer_does_not_hold_the_rate():
    """Gradient g twice, at rates 1 and 0.1: g + 0.1 (0.9 g + g), no Nesterov."""
    gradient = draw(1)
    rates = jnp.array([1.0, 0.1])
    optimizer = sgd(lambda count: rates[count], momentum=0.9, weight_decay=0)
    after = descend(optimizer, [gradient, gradient])
    wanted = draw(0)[WEIGHT] - 1.19 * gradient[WEIGHT]
    np.testing.assert_allclose(after[WEIGHT], wanted, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_stay_and_have_no_buffer():
    after = descend(sgd(constant(0.5), frozen=FROZEN), [draw(1), draw(2)])
    for path, before in draw(0).items():
        changed = not np.array_equal(after[path], before.astype(np.float32))
        assert changed == (path[:3] not in FROZEN), path
    buffers = jax.tree.leaves(sgd(constant(0.5), frozen=FROZEN).init(nested(draw(0))))
    trained = [path for path in SHAPES if path[:3] not in FROZEN]
    assert sum(leaf.ndim > 0 for leaf in buffers) == len(trained)


def test_a_backbone_without_a_rate_stays_bit_for_bit():
    after = descend(sgd(constant(0.5), backbone_rate=0.0), [draw(1), draw(2)])
    for path, before in draw(0).items():
        same = np.array_equal(after[path], before.astype(np.float32))
        assert same == (path[0] == "backbone"), path


def test_a_checkpoint_may_be_older_than_the_rate_of_the_backbone():
    """And its state is that of any rate."""
    config = default.optimizer()
    del config["backbone_rate"]
    new = default.optimizer()
    new.backbone_rate = 0.1
    states = [
        make_optimizer(c, 8, EMANet()).init(nested(draw(0))) for c in (config, new)
    ]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


@pytest.mark.parametrize(
    ("path", "group"),
    [
        (("head", "context", "conv1", "bias"), "frozen"),
        (("head", "context", "conv10", "bias"), "bias"),
        (("head", "context", "bases"), "weight"),
        (("backbone", "norm", "scale"), "scale"),
    ],
)
def test_groups(path, group):
    assert parameter_group(path, FROZEN) == group


@pytest.mark.parametrize("hold_steps", [1, 7, 10])
def test_the_rate_changes_at_held_steps_only(hold_steps):
    """As a training loop sets it: at step i, counted from one, if i is divisible."""
    schedule = poly_schedule(0.009, 95, hold_steps=hold_steps)
    rate = 0.009
    actual = np.asarray(run(schedule, np.arange(95)))
    for step in range(1, 96):
        if step % hold_steps == 0:
            rate = 0.009 * (1 - step / 95) ** 0.9
        np.testing.assert_allclose(actual[step - 1], rate, rtol=1e-4, atol=1e-9)


def test_the_rate_stays_zero_after_the_end():
    schedule = poly_schedule(1.0, 10)
    assert [float(schedule(count)) for count in (9, 10, 50)] == [0, 0, 0]


def test_every_field_of_the_config_is_used():
    """Two steps of a weight and a bias, with numbers that appear nowhere else."""
    config = ConfigDict(default.optimizer().to_dict())
    config.update(
        learning_rate=0.7, power=2.0, hold_steps=2, momentum=0.6, weight_decay=0.05
    )
    config.update(bias_rate=1.5, backbone_rate=0.3)
    gradients = [draw(1), draw(2)]
    actual = descend(make_optimizer(config, 8, EMANet()), gradients)
    wanted = descend_as_pytorch(
        gradients,
        rates=[0.7, 0.7 * (1 - 2 / 8) ** 2],
        momentum=0.6,
        weight_decay=0.05,
        bias_rate=1.5,
        backbone_rate=0.3,
    )
    for path in SHAPES:
        np.testing.assert_allclose(actual[path], wanted[path], rtol=1e-5, atol=1e-6)
