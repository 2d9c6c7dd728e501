"""The auxiliary head reads one of the stages that there are."""

import jax
import numpy as np
import pytest

from ema_jax.heads import FCNHead


@pytest.mark.parametrize("stage", [0, -1, 5])
def test_a_stage_that_is_not_there(stage):
    stages = tuple((np.zeros((1, 5, 5, 4)), None) for _ in range(4))
    with pytest.raises(ValueError, match=f"stage={stage} is unknown; choose one of"):
        FCNHead(3, stage=stage).init(jax.random.key(0), stages, train=False)
