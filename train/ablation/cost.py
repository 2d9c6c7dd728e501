"""What a point of an ablation costs, in a process of its own, apart from its training.

`python -m train.ablation.cost`; `cost.json` lies beside the folders of its seeds.
"""

import sys
from pathlib import Path

from ml_collections import ConfigDict

from train.ablation.folder import COST, read_specification, write_json
from train.ablation.jobs import end_with_parent
from train.aot.compile import DoesNotFitError, compile_step
from train.data import data_options, open_dataset
from train.devices.memory import peak_memory
from train.devices.partition import configured_mesh
from train.model.build import build_model
from train.profile.counts import count
from train.user.console import log_to_stderr
from train.user.errors import UserError


def costs(config: ConfigDict, num_classes: int) -> dict[str, int]:
    """Multiply-adds of a forward pass, and memory of an update, on training crops.

    To count the former, a crop that is not square is taken for one of its longer side.

    Returns:
        "multiply_adds" of one crop, "training_memory" in bytes on each device, of the
        step that the training itself takes.
    """
    model = build_model(config.model, num_classes, config.data.crop_size)
    size = max(config.data.crop_size)
    program = compile_step(config, num_classes, configured_mesh(config))
    return {
        "multiply_adds": count(model, size, batch=1).multiply_adds.total,
        "training_memory": peak_memory(program),
    }


def main(folder: Path) -> int:
    """Write the costs of the run of a folder; returns the exit status."""
    end_with_parent()
    log_to_stderr()
    config = read_specification(folder).config
    try:
        dataset = open_dataset(config.data.name, **data_options(config))
        found = costs(config, dataset.num_classes)
    except (DoesNotFitError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_json(folder.parent / COST, found)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
