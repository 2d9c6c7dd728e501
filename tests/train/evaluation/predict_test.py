"""From files to masks; the network is replaced by a threshold."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ema_jax import MODELS, Prediction
from train.data.photographs import read_photograph
from train.evaluation.pictures import GAP
from train.evaluation.predict import (
    ImageFiles,
    find_bases,
    find_images,
    predict,
)
from train.user.errors import UserError

KINDS = ("mask", "color", "overlay")
OUT = "/nowhere"
PALETTE = np.array([[0, 0, 0], [200, 0, 100]], np.uint8)


def write_image(path: Path, size=(6, 9), seed=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def threshold(files, sizes):
    """Class 1 where red is bright, as bright as red is; the last image comes first."""
    for index in reversed(range(len(files))):
        image = files[index]
        assert image.shape[:2] == tuple(sizes[index])
        red = image[..., 0]
        yield index, Prediction((red > 127).astype(np.uint8), red / 255, PALETTE, None)


@pytest.fixture
def predictor():
    return SimpleNamespace(stream=threshold, model=None)


def refused(action, *arguments):
    with pytest.raises(UserError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_and_folders_keep_their_names(tmp_path):
    paths = [
        write_image(tmp_path / name)
        for name in ("set/b.png", "set/deep/a.b.PNG", "alone.png")
    ]
    (tmp_path / "set/notes.txt").write_text("")
    for name in ("set/._b.png", "set/.thumbnails/b.png"):  # of the system
        write_image(tmp_path / name)
    (tmp_path / "set/folder.png").mkdir()
    found = find_images([str(tmp_path / "set"), str(paths[2])], OUT)
    assert found == {"b": paths[0], "deep/a.b": paths[1], "alone": paths[2]}


def test_the_same_file_twice_is_one_image(tmp_path):
    path = write_image(tmp_path / "a.png")
    assert find_images([str(path), str(tmp_path)], OUT) == {"a": path}


def test_linked_folders_are_followed_once(tmp_path):
    path = write_image(tmp_path / "elsewhere/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "set")
    found = find_images([str(tmp_path / "set")], OUT)
    assert found == {"linked/a": tmp_path / "set/linked/a.png"}
    assert found["linked/a"].resolve() == path


@pytest.mark.parametrize("suffix", ["gif", "avif", "jp2", "jfif", "webp", "tif"])
def test_every_suffix_that_is_read_is_found(tmp_path, suffix):
    path = write_image(
        tmp_path / f"png/a.{suffix}" if suffix != "jfif" else (tmp_path / "png/a.jpg")
    )
    path = path.rename(path.with_suffix(f".{suffix}"))
    assert find_images([str(tmp_path)], OUT) == {"png/a": path}
    assert read_photograph(path).pixels.shape == (6, 9, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_never_written_over(tmp_path, predictor, kind):
    """`predict scene/color/a.png --output scene`: the user's own pictures."""
    path = write_image(tmp_path / kind / "a.png")
    before = path.read_bytes()
    message = refused(predict, predictor, [str(path)], str(tmp_path))
    assert message == (
        f"--output={tmp_path} would write over {path}, which is read; "
        "give another folder"
    )
    assert path.read_bytes() == before
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


@pytest.mark.parametrize("inside", [".", "out", "a/../deep/out"])
def test_outputs_lie_outside_of_the_folders_that_are_read(tmp_path, predictor, inside):
    """The next run would take them for images."""
    path = write_image(tmp_path / "a.png")
    output = f"{tmp_path}/{inside}"
    message = refused(predict, predictor, [str(tmp_path)], output)
    assert message.startswith(f"--output={output} lies in {tmp_path}, whose images")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_two_images_must_not_share_a_mask(tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "a.bmp")
    message = refused(find_images, [str(tmp_path)], OUT)
    assert "would write the same a.png" in message


def test_a_folder_without_images(tmp_path):
    message = refused(find_images, [str(tmp_path)], OUT)
    assert message.startswith(f"{tmp_path}: holds no")


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x89PNG\r\n\x1a\n0000"])
def test_what_is_not_an_image(tmp_path, content):
    path = tmp_path / "a.png"
    if content is None:
        assert refused(read_photograph, path).startswith(f"{path}: cannot be opened (")
        return
    path.write_bytes(content)
    assert refused(read_photograph, path).startswith(
        f"{path}: cannot be read as an image ("
    )


def test_files_are_read_when_it_is_their_turn(tmp_path):
    path = write_image(tmp_path / "a.png")
    files = ImageFiles([path], lambda: (0, 1))
    np.testing.assert_array_equal(files[0], np.asarray(Image.open(path)))
    assert len(files) == 1


def test_masks_pictures_and_overlays_at_the_size_of_the_image(tmp_path, predictor):
    sizes = {"a": (6, 9), "in/b": (12, 5), "c": (7, 7)}
    for seed, (name, size) in enumerate(sizes.items()):
        write_image(tmp_path / f"in/{name}.png", size, seed)
    output = tmp_path / "out"
    assert predict(predictor, [str(tmp_path / "in")], str(output)) == []
    for name, size in sizes.items():
        image = np.asarray(Image.open(tmp_path / f"in/{name}.png"))
        mask = (image[..., 0] > 127).astype(np.uint8)
        colors = np.where(mask[..., None], PALETTE[1], PALETTE[0])
        mixed = np.round((image.astype(float) + colors) / 2)
        for kind, wanted in zip(KINDS, (mask, colors, mixed), strict=True):
            with Image.open(output / f"{kind}/{name}.png") as written:
                assert written.size == size[::-1]
                np.testing.assert_array_equal(np.asarray(written), wanted)
    assert len(list(output.rglob("*.png"))) == 9


def test_a_broken_file_does_not_stop_the_others(tmp_path, predictor):
    write_image(tmp_path / "in/a.png")
    broken = tmp_path / "in/b.png"
    broken.write_text("no image")
    write_image(tmp_path / "in/c.png")
    missing = tmp_path / "d.png"
    output = tmp_path / "out"
    problems = predict(predictor, [str(tmp_path / "in"), str(missing)], str(output))
    assert [problem.split(":")[0] for problem in problems] == [
        str(broken),
        str(missing),
    ]
    masks = sorted(path.name for path in (output / "mask").iterdir())
    assert masks == ["a.png", "c.png"]


def test_nothing_is_written_where_no_file_is_an_image(tmp_path, predictor):
    broken = tmp_path / "b.png"
    broken.write_text("no image")
    message = refused(predict, predictor, [str(broken)], str(tmp_path / "out"))
    assert str(broken) in message
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_stops_before_the_network(tmp_path, predictor):
    write_image(tmp_path / "a.png")
    (tmp_path / "file").write_text("")

    def fail(*_):
        raise AssertionError("the network ran")

    predictor.stream = fail
    output = str(tmp_path / "file" / "out")
    message = refused(predict, predictor, [str(tmp_path / "a.png")], output)
    assert message.startswith(f"--output: {output}/mask cannot be written (")


def test_the_confidence_is_a_grey_picture(tmp_path, predictor):
    path = write_image(tmp_path / "a.png")
    predict(predictor, [str(path)], str(tmp_path / "out"), confidence=True)
    with Image.open(tmp_path / "out/confidence/a.png") as written:
        assert written.mode == "L"
        np.testing.assert_array_equal(written, np.asarray(Image.open(path))[..., 0])


def test_the_bases_that_are_asked_for(tmp_path, predictor):
    """One line of maps for each, below the image, brightest where the line is."""
    path = write_image(tmp_path / "a.png")
    maps = np.zeros((3, 6, 9, 2), np.float32)
    maps[1, 2, 3, 1] = maps[2, 4, 5, 0] = 0.5
    asked = []
    predictor.model = MODELS["emanet_tiny"]()
    predictor.responsibilities = lambda image, bases: (
        asked.append(bases(np.zeros((3, 1, 2, 16)))) or maps
    )
    predict(predictor, [str(path)], str(tmp_path / "out"), bases="7, 0")
    assert asked == [[7, 0]]
    with Image.open(tmp_path / "out/bases/a.png") as written:
        panel = np.asarray(written).astype(int)
    image = np.asarray(Image.open(path))
    line, column = 6 + GAP, 9 + GAP
    np.testing.assert_array_equal(panel[:6, :9], image)
    yellow, blue = panel[line + 4, 2 * column + 5], panel[line, 0]
    assert yellow[0] > 200 > yellow[2]
    assert blue[2] > blue[0]
    np.testing.assert_array_equal(panel[2 * line + 2, column + 3], yellow)
    assert panel.shape == (3 * line, 3 * column, 3)


def test_the_most_telling_bases_vary_most():
    maps = np.zeros((2, 4, 4, 8))
    maps[-1, :2, :, 5], maps[-1, 0, 0, 3], maps[-1, ..., 1] = 1, 1, 1
    assert find_bases("telling", MODELS["emanet_tiny"]())(maps)[:2] == [5, 3]


@pytest.mark.parametrize(
    ("bases", "model", "wanted"),
    [
        ("16", "emanet_tiny", "give 'telling', or numbers from 0 to 15 with commas"),
        ("-1", "emanet_tiny", "numbers from 0 to 15"),
        ("", "emanet_tiny", "numbers from 0 to 15"),
        ("1;2", "emanet_tiny", "numbers from 0 to 15"),
        ("telling", "psanet_tiny", "has no EM attention, but a PSAHead"),
    ],
)
def test_bases_that_there_are_not(bases, model, wanted):
    message = refused(find_bases, bases, MODELS[model]())
    assert message.startswith(f"--bases={bases}: ")
    assert wanted in message
