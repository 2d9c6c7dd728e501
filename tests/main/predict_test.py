"""`predict`: masks of what is an image."""

import numpy as np
from PIL import Image

from tests.main.files import arguments_of, contents


def test_a_prediction_passes_over_what_is_no_image(refused, workdir, folder, tmp_path):
    images = [folder / "data/images/p0.png", tmp_path / "a.png", tmp_path / "b.png"]
    images[1].write_text("no image")
    output = tmp_path / "masks"
    message = refused(
        "predict", *images, "--output", output, "--workdir", workdir, "--checkpoint=2"
    )
    assert message == (
        f"{images[1]}: cannot be read as an image (no image, or a damaged one); "
        f"{images[2]}: cannot be opened (No such file or directory)"
    )
    assert sorted(contents(output)) == [
        "color/p0.png",
        "mask/p0.png",
        "overlay/p0.png",
    ]
    with Image.open(output / "mask/p0.png") as mask:
        assert mask.size == (56, 40)
        assert set(np.unique(np.asarray(mask))) <= {0, 1}


def test_a_prediction_of_nothing(refused_at_once, workdir, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refused_at_once(
        "predict", empty, f"--output={tmp_path / 'out'}", f"--workdir={workdir}"
    )
    assert message.startswith(f"{empty}: holds no image")


def test_a_prediction_that_cannot_be_written(
    refused_at_once, workdir, folder, tmp_path
):
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file/masks"
    message = refused_at_once(
        "predict",
        folder / "data/images/p0.png",
        f"--output={output}",
        f"--workdir={workdir}",
    )
    assert message.startswith(f"--output: {output}/mask cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_prediction_names_the_nearest_field(refused_at_once, workdir, folder):
    command = arguments_of("predict", workdir, folder)
    message = refused_at_once(*command, "--config.evaluation.scale=(1.0,)")
    assert "did you mean 'evaluation.scales'?" in message


def test_a_window_that_does_not_align(refused_at_once, workdir, folder):
    command = arguments_of("predict", workdir, folder)
    message = refused_at_once(*command, "--config.evaluation.window=(32, 33)")
    assert message.startswith("config.evaluation.window=(32, 33) does not align")
