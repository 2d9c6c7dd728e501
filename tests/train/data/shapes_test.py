import numpy as np
import pytest

from train.data import open_dataset, shapes

SEEDS = range(150)


@pytest.fixture(scope="module")
def scenes():
    return [shapes.scene(seed) for seed in SEEDS]


def test_a_seed_decides_the_scene(scenes):
    state = np.random.get_state()  # noqa: NPY002
    for seed in (0, 7):
        for first, second in zip(shapes.scene(seed), scenes[seed], strict=True):
            np.testing.assert_array_equal(first, second)
    assert np.array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002
    digests = {image.tobytes() for image, _ in scenes}
    assert len(digests) == len(SEEDS)


def test_shapes_types_and_sizes(scenes):
    for image, label in scenes:
        assert image.dtype == label.dtype == np.uint8
        assert image.shape == (*label.shape, 3)
        assert all(100 <= side <= 160 for side in label.shape)
    assert len({label.shape for _, label in scenes}) > 100


def test_every_class_is_common_and_nothing_else_occurs(scenes):
    present = [set(np.unique(label).tolist()) for _, label in scenes]
    assert set.union(*present) == {*range(len(shapes.CLASS_NAMES)), 255}
    for index in range(len(shapes.CLASS_NAMES)):
        assert sum(index in values for values in present) > 0.3 * len(SEEDS)


def test_classes_touch_only_across_the_ignore_border(scenes):
    for _, label in scenes:
        for first, second in ((label[1:], label[:-1]), (label[:, 1:], label[:, :-1])):
            differ = first != second
            assert (np.maximum(first, second)[differ] == 255).all()


def test_the_border_is_two_or_three_pixels_wide(scenes):
    widths = []
    for _, label in scenes:
        border = (label == 255).astype(int)
        for row in border:
            edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
            widths += (edges[1::2] - edges[::2]).tolist()
    assert min(widths) >= 1
    assert 2 <= np.median(widths) <= 3


def cast_of(image):
    """log(red / blue) / 2 per pixel."""
    rgb = image.astype(float) + 1
    return np.log(rgb[..., 0] / rgb[..., 2]) / 2


def disc_colours(scenes):
    """Per class and disc area: its mean cast, and that minus the backdrop's."""
    alone = {shapes.AMBER: [], shapes.AZURE: []}
    relative = {shapes.AMBER: [], shapes.AZURE: []}
    for image, label in scenes:
        cast = cast_of(image)
        for index in alone:
            if (label == index).sum() > 100:
                mean = cast[label == index].mean()
                alone[index].append(mean)
                relative[index].append(mean - cast[label == 0].mean())
    return alone, relative


def best_accuracy(values):
    """Of the best threshold that tells the two classes apart."""
    amber, azure = (np.array(values[i]) for i in (shapes.AMBER, shapes.AZURE))
    thresholds = np.concatenate([amber, azure])
    return max(((amber > t).mean() + (azure <= t).mean()) / 2 for t in thresholds)


def test_the_discs_can_be_told_apart_against_their_scene_only(scenes):
    alone, relative = disc_colours(scenes)
    assert min(map(len, alone.values())) > 50
    assert best_accuracy(alone) < 0.8
    assert best_accuracy(relative) > 0.97


def test_the_backdrop_near_a_disc_says_less_than_the_scene(scenes):
    """A window of two tiles' width misjudges the light more than the whole does."""
    local, whole = [], []
    for image, label in scenes:
        cast, backdrop = cast_of(image), label == 0
        for index, sign in ((shapes.AMBER, 1), (shapes.AZURE, -1)):
            rows, columns = np.nonzero(label == index)
            if len(rows) < 100:
                continue
            observed = cast[label == index].mean() - sign * shapes.DISC
            top, left = max(0, rows.min() - 8), max(0, columns.min() - 8)
            window = np.s_[top : rows.max() + 8, left : columns.max() + 8]
            if backdrop[window].sum() > 100:
                local.append(cast[window][backdrop[window]].mean() - observed)
                whole.append(cast[backdrop].mean() - observed)
    assert np.std(local) > 2 * np.std(whole)


def test_discs_have_no_other_mark(scenes):
    """Brightness, area and texture of the two classes agree."""
    green = {shapes.AMBER: [], shapes.AZURE: []}
    for image, label in scenes:
        for index, values in green.items():
            pixels = image[label == index][:, 1]
            if len(pixels) > 100:
                values.append((pixels.mean(), pixels.std(), len(pixels)))
    amber, azure = (np.array(green[i]) for i in (shapes.AMBER, shapes.AZURE))
    error = np.sqrt(amber.var(0) / len(amber) + azure.var(0) / len(azure))
    assert (np.abs(amber.mean(0) - azure.mean(0)) < 4 * error).all()


def test_the_embedded_set(tmp_path):
    dataset = open_dataset("shapes", root=None, data_dir=str(tmp_path))
    assert dataset.num_classes == len(dataset.palette) == 7
    assert dataset.class_names == shapes.CLASS_NAMES
    names = {}
    for split, count in (("train", 600), ("val", 120)):
        source = dataset.source(split)
        assert len(source) == len(dataset.sizes(split)) == count
        example = source[5]
        image, label = shapes.scene(int(example["name"]))
        np.testing.assert_array_equal(example["image"], image)
        np.testing.assert_array_equal(example["label"], label)
        names[split] = dataset.image_names(split)
        assert example["name"] == names[split][5]
        assert len(set(names[split])) == count
    assert not set(names["train"]) & set(names["val"])


def test_another_drawing_rule_gives_other_records(monkeypatch):
    before = shapes.open_shapes().fingerprint
    assert shapes.open_shapes().fingerprint == before
    monkeypatch.setattr(shapes, "LIGHT", 0.5)
    assert shapes.open_shapes().fingerprint != before
