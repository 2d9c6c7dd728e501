"""Updates that are not finite: stop, or skip and count, up to a ceiling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.training.divergence import Divergence
from train.update.state import TrainState
from train.update.step import StepMetrics
from train.user.errors import UserError


def metrics(loss=1.0, norm=1.0, skipped=False):
    return StepMetrics(np.float32(loss), np.float32(norm), np.eye(2), skipped)


@pytest.fixture
def said():
    return []


def divergence(said, skips=True, ceiling=3):
    return Divergence(
        skips=skips,
        ceiling=ceiling,
        advice="runs/a; x",
        steps=lambda: [4],
        say=said.append,
    )


@pytest.mark.parametrize("bad", [{"loss": np.nan}, {"norm": np.inf}])
def test_stop(said, bad):
    watch = divergence(said, skips=False)
    watch.check(1, metrics())
    with pytest.raises(UserError, match=r"^step 2: .*of step 4 is kept in runs/a; x$"):
        watch.check(2, metrics(**bad))
    assert said == []


def test_skips_are_counted_and_too_many_in_a_row_stop(said):
    watch = divergence(said)
    bad = metrics(np.nan, np.nan, skipped=True)
    for step, given in enumerate([bad, bad, metrics(), bad, bad], 1):
        watch.check(step, given)
    assert [line.split("; ")[1] for line in said] == [
        f"the update is skipped, {count} so far" for count in (1, 2, 3, 4)
    ]
    with pytest.raises(UserError, match="; 3 updates in a row are not finite; "):
        watch.check(6, bad)


def test_a_skip_whose_loss_is_finite_counts(said):
    watch = divergence(said)
    watch.check(1, metrics(skipped=True))
    assert watch.skipped == 1


def test_a_state_that_is_replaced_but_for_its_step():
    old = TrainState(jnp.array(3), {"w": jnp.ones(2)}, {"m": jnp.zeros(2)}, ())
    new = TrainState(jnp.array(4), {"w": jnp.full(2, jnp.nan)}, {"m": jnp.ones(2)}, ())
    kept = jax.jit(lambda c: new.unless(c, old))(True)
    assert int(kept.step) == 4
    np.testing.assert_array_equal(kept.params["w"], 1)
    np.testing.assert_array_equal(kept.batch_stats["m"], 0)
    taken = jax.jit(lambda c: new.unless(c, old))(False)
    assert np.isnan(taken.params["w"]).all()
