"""The decoder of a context head: what it draws at stride 4, by weights set by hand."""

import jax
import numpy as np
import pytest

from ema_jax.backbones import Features
from ema_jax.context import NoContext
from ema_jax.heads import ContextHead
from tests.quick import run

LOW, LAST = (2, 9, 17, 4), (2, 3, 5, 6)  # strides 4 and 16
CHANNELS = 4


def stages(mask=None):
    rng = np.random.default_rng(0)
    low, last = (rng.standard_normal(shape, np.float32) for shape in (LOW, LAST))
    small = None if mask is None else mask[:, ::4, ::4]
    return Features(low, mask), Features(last, small)


def head(**options):
    return ContextHead(NoContext(), 3, 8, CHANNELS, dropout_rate=0.0, **options)


@pytest.fixture(scope="module")
def variables():
    model = head(decoder_channels=CHANNELS)
    return jax.device_get(model.init(jax.random.key(1), stages(), train=False))


def evaluate(model, variables):
    return np.asarray(model.apply(variables, stages(), train=False))


def passing_on(variables, source):
    """Kernels that hand channels `source` of what is joined to the classifier."""
    params = dict(variables["params"])
    centre = np.zeros((3, 3, CHANNELS + 2, CHANNELS), np.float32)
    centre[1, 1, source, range(len(source))] = 1
    again = np.zeros((3, 3, CHANNELS, CHANNELS), np.float32)
    again[1, 1] = np.eye(CHANNELS)
    kernels = {
        "narrow": np.eye(CHANNELS)[None, None],
        "refine1": centre,
        "refine2": again,
    }
    for name, kernel in kernels.items():
        params[name] = {**params[name], "conv": {"kernel": np.float32(kernel)}}
    return {**variables, "params": params}


def test_what_is_passed_on_is_the_coarse_answer_enlarged(variables):
    whole = passing_on(variables, range(2, CHANNELS + 2))
    logits = evaluate(head(decoder_channels=CHANNELS), whole)
    coarse = evaluate(head(), whole)
    assert logits.shape == (2, 9, 17, 3)
    np.testing.assert_allclose(logits[:, ::4, ::4], coarse, rtol=1e-3, atol=1e-4)
    between = (coarse[:, :-1] + coarse[:, 1:]) / 2
    np.testing.assert_allclose(logits[:, 2::4, ::4], between, rtol=1e-3, atol=1e-4)


def test_the_first_stage_is_seen_at_its_own_pixels(variables):
    whole = passing_on(variables, range(2))
    logits = evaluate(head(decoder_channels=CHANNELS), whole)
    params = whole["params"]
    low = np.maximum(stages()[0].x @ params["low_level"]["conv"]["kernel"][0, 0], 0)
    kernel, bias = (params["classifier"][name] for name in ("kernel", "bias"))
    expected = low @ kernel[0, 0, :2] + bias
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


def test_the_coarse_logits_are_added(variables):
    """Theirs alone, where the decoder's classifier knows nothing."""
    fine = variables["params"]["classifier"]
    blank = jax.tree.map(np.zeros_like, fine)
    rng, shape = np.random.default_rng(2), fine["kernel"].shape
    coarse = {
        "kernel": rng.standard_normal(shape, np.float32),
        "bias": np.arange(3, dtype=np.float32),
    }

    def logits(model, classifier):
        params = {
            **variables["params"],
            "coarse_classifier": coarse,
            "classifier": classifier,
        }
        return evaluate(model, {**variables, "params": params})

    both = head(decoder_channels=CHANNELS, coarse_logits=True)
    alone = logits(both, blank)
    np.testing.assert_allclose(alone[:, ::4, ::4], logits(head(), coarse), rtol=1e-5)
    np.testing.assert_allclose(
        logits(both, fine) - alone,
        logits(head(decoder_channels=CHANNELS), fine),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("train", [False, True])
def test_an_image_on_a_canvas_gets_what_it_gets_alone(variables, train):
    model = head(decoder_channels=CHANNELS, coarse_logits=True)
    fine = variables["params"]["classifier"]  # of as many channels
    params = {**variables["params"], "coarse_classifier": fine}
    variables = {**variables, "params": params}
    mask = np.zeros(LOW[:3], bool)
    mask[:, :5, :9] = True
    small = [
        Features(x[:, : -(-x.shape[1] // 2), : -(-x.shape[2] // 2)], None)
        for x, _ in stages()
    ]

    def forward(given):
        return model.apply(variables, given, train=train, mutable=["batch_stats"])

    alone, statistics = jax.device_get(run(forward, small))
    together, updates = jax.device_get(run(forward, stages(mask)))
    np.testing.assert_allclose(together[:, :5, :9], alone, rtol=1e-4, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        updates,
        statistics,
    )
