"""An ablation of nothing: one training for each seed; the others add axes.

    python main.py ablate --config configs/ablations/bases.py --workdir runs/bases

The fields here can be set on the command line; any other `--config.FIELD=value` is set
in every training. On CamVid, whose files are yours:

    --config.base=base/camvid.py --config.data.root=…

Seeds differ less where all runs start from one trained backbone, as published ones do:

    python main.py train --config configs/shapes.py:fcn_tiny --workdir runs/backbone
    python main.py convert runs/backbone backbone.safetensors --backbone

and then `--config.model.pretrained=backbone.safetensors --config.num_steps=150`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Three seeds of `base/shapes.py`."""
    config = ConfigDict()
    # The training config from which every run departs: a path from here, or from the
    # folder of the ablation's config.
    config.base = "base/shapes.py"
    # Each point of the grid is trained once with each seed.
    config.seeds = (0, 1, 2)
    # What is varied: pairs of a name and its points. A point is an override of the
    # training, or several of them; several axes make a product.
    config.axes = ()
    # EM iterations at which each trained network is evaluated, all from one compile;
    # none: as its config says.
    config.eval_iters = ()
    # Whether the table also has the multiply-adds of each point, and the memory of its
    # training.
    config.costs = False
    return config
