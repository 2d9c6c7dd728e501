"""Checkpoints: which are kept, which are found, and what comes back."""

import json
import os
import resource
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from train.devices.mesh import make_mesh
from train.update.state import TrainState
from train.user.errors import UserError
from train.workdir.checkpoint import Checkpoints

CLASSES = {"names": ["sky", "road"], "palette": [[0, 0, 0], [9, 8, 7]]}

SCORED = {1: 0.1, 2: 0.9, 3: 0.5, 4: None, 5: 0.6}
"""Step to validation mIoU, if there was an evaluation."""


def make_state(step: int) -> TrainState:
    """Every leaf differs between steps."""
    return TrainState(
        step=jnp.array(step, jnp.int32),
        params={"head": {"kernel": jnp.full((2, 3), step + 0.25)}},
        batch_stats={"bases": jnp.arange(4.0) * step},
        opt_state=({"trace": jnp.full(3, -1.5 * step)}, jnp.array(step)),
    )


def abstract():
    sharding = make_mesh().everywhere
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        make_state(0),
    )


def save(workdir, scored, **keep):
    checkpoints = Checkpoints(str(workdir), **keep)
    for step, mean_iou in scored.items():
        checkpoints.save(make_state(step), default.get_config(), CLASSES, mean_iou)
    checkpoints.close()


@pytest.fixture
def opened():
    """open(workdir), closed at the end."""
    made = []

    def open_workdir(workdir):
        made.append(Checkpoints(str(workdir)))
        return made[-1]

    yield open_workdir
    for checkpoints in made:
        checkpoints.close()


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A workdir that was given five checkpoints; read it only."""
    workdir = tmp_path_factory.mktemp("five")
    save(workdir, SCORED, keep_last=2, keep_best=1)
    return workdir


@pytest.fixture
def copied(five, tmp_path):
    return Path(shutil.copytree(five, tmp_path / "copied"))


def refused(action, *arguments):
    with pytest.raises(UserError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_newest_and_the_best_are_kept(five, opened):
    assert opened(five).steps() == [2, 4, 5]
    folders = {path.name for path in (five / "checkpoints").iterdir() if path.is_dir()}
    assert folders == {"2", "4", "5"}


@pytest.mark.parametrize(
    ("keep_last", "keep_best", "wanted"),
    [(1, 0, [5]), (1, 2, [2, 5]), (1, 3, [2, 3, 5]), (3, 1, [2, 3, 4, 5])],
)
def test_how_many_are_kept(tmp_path, opened, keep_last, keep_best, wanted):
    save(tmp_path, SCORED, keep_last=keep_last, keep_best=keep_best)
    assert opened(tmp_path).steps() == wanted


def test_without_scores_the_newest_are_kept(tmp_path, opened):
    save(tmp_path, dict.fromkeys(range(1, 5)), keep_last=2, keep_best=2)
    checkpoints = opened(tmp_path)
    assert checkpoints.steps() == [3, 4]
    assert checkpoints.find("best") == 4


def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path, opened):
    save(tmp_path, {1: 0.5, 2: float("nan"), 3: 0.4}, keep_last=1, keep_best=1)
    checkpoints = opened(tmp_path)
    assert checkpoints.find("best") == 1


@pytest.mark.parametrize(("which", "step"), [("best", 2), ("last", 5), ("4", 4)])
def test_find(five, opened, which, step):
    assert opened(five).find(which) == step


@pytest.mark.parametrize("which", ["3", "1", "-2", "newest", "", "4.0"])
def test_what_is_not_there_is_told_with_what_is(five, opened, which):
    message = refused(opened(five).find, which)
    assert message.startswith(f"--checkpoint={which} is not in {five}")
    assert message.endswith("there are best, last, 2, 4, 5")


@pytest.mark.parametrize("which", ["best", "last", "1"])
def test_an_empty_workdir_has_none(tmp_path, opened, which):
    checkpoints = opened(tmp_path)
    assert checkpoints.steps() == []
    assert "has no checkpoint" in refused(checkpoints.find, which)


@pytest.mark.parametrize("step", [2, 5])
def test_every_leaf_comes_back_on_every_device(five, opened, step):
    state, next_batch = opened(five).restore(step, abstract())
    assert next_batch == step
    wanted = make_state(step)
    assert jax.tree.structure(state) == jax.tree.structure(wanted)
    for actual, leaf in zip(
        jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True
    ):
        np.testing.assert_array_equal(actual, leaf)
        assert actual.dtype == leaf.dtype
        assert len(actual.sharding.device_set) == 8


def test_nothing_is_compiled_to_save_what_eight_devices_hold(tmp_path, compilations):
    state = jax.device_put(make_state(1), make_mesh().everywhere)
    bases = jax.device_put(np.arange(16.0), make_mesh().everywhere)
    assert len(bases.addressable_shards) == 8
    state = state.replace(batch_stats={"bases": bases})
    checkpoints = Checkpoints(str(tmp_path))
    compilations()
    checkpoints.save(state, default.get_config(), CLASSES)
    checkpoints.close()
    assert compilations() == 0


def test_config_and_classes_come_back(five, opened):
    config, classes = opened(five).describe(4)
    assert config.to_dict() == default.get_config().to_dict()
    assert classes == CLASSES


def test_a_step_is_saved_once(copied, opened):
    checkpoints = opened(copied)
    written = files(copied)
    checkpoints.save(make_state(5), default.get_config(), CLASSES, 0.99)
    checkpoints.close()
    assert files(copied) == written


def files(folder):
    paths = (folder / "checkpoints").rglob("*")
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


def test_an_interrupted_write_is_no_checkpoint(copied, monkeypatch, opened):
    """The folder gets its name last; here that never happens."""
    checkpoints = Checkpoints(str(copied), keep_last=2)

    def interrupt(*_, **__):
        raise OSError("power is gone")

    with monkeypatch.context() as broken:
        for name in ("rename", "replace"):
            broken.setattr(os, name, interrupt)
        with pytest.raises(Exception, match="power is gone"):  # noqa: PT012
            checkpoints.save(make_state(6), default.get_config(), CLASSES)
            checkpoints.close()
    left = [path.name for path in (copied / "checkpoints").iterdir()]
    assert any(name.startswith("6.") for name in left), left
    again = opened(copied)
    assert again.steps() == [2, 4, 5]
    assert again.find("last") == 5
    again.save(make_state(6), default.get_config(), CLASSES)
    again.close()
    assert opened(copied).find("last") == 6


def test_a_damaged_checkpoint_is_named(copied, opened):
    for path in (copied / "checkpoints/5/state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0")
    message = refused(opened(copied).restore, 5, abstract())
    assert message.startswith(f"{copied}/checkpoints/5: the checkpoint cannot be rest")


def test_numbers_that_are_not_those_that_were_written(copied, opened):
    """The format reads most changes of its files without a word."""
    path = copied / "checkpoints/5/data/metadata"
    data = json.loads(path.read_text())
    assert len(data["digests"]) == len(jax.tree.leaves(make_state(5)))
    data["digests"][1] ^= 4
    path.write_text(json.dumps(data))
    message = refused(opened(copied).restore, 5, abstract())
    assert "cannot be restored (its numbers are not those that were writ" in message


def test_a_checkpoint_without_digests_is_read(copied, opened):
    path = copied / "checkpoints/5/data/metadata"
    assert "digests" in path.read_text()
    path.write_text('{"next_batch": 5}')
    assert opened(copied).restore(5, abstract())[1] == 5


# orbax leaves futures of a loop that it has closed, now and then
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_keeps_what_there_is(copied, opened):
    """No file may grow beyond what fits: the writes of the newest are cut off."""
    before = files(copied)
    checkpoints = Checkpoints(str(copied), keep_last=2)
    noise = jax.random.normal(jax.random.key(0), (1_000_000,))  # does not compress
    state = make_state(6).replace(batch_stats={"bases": noise})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        checkpoints.save(state, default.get_config(), CLASSES)
        message = refused(checkpoints.close)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message.startswith(f"{copied}/checkpoints: a checkpoint cannot be written (")
    assert "File too large" in message
    assert "the checkpoint of step 5 is kept; make room" in message
    assert {path: before[path] for path in before} == {
        path: time for path, time in files(copied).items() if path in before
    }
    again = opened(copied)
    assert again.steps() == [2, 4, 5]
    assert again.restore(5, abstract())[1] == 5


def test_without_room_nothing_is_begun(copied, monkeypatch):
    before = files(copied)
    usage = type("Usage", (), {"free": 40})
    monkeypatch.setattr("train.workdir.checkpoint.shutil.disk_usage", lambda _: usage)
    checkpoints = Checkpoints(str(copied), keep_last=2)
    config = default.get_config()
    message = refused(checkpoints.save, make_state(6), config, CLASSES)
    assert "No space left on device for its 0.0 MB, and 0.0 MB are left" in message
    assert "the checkpoint of step 5 is kept; make room" in message
    checkpoints.close()
    assert files(copied) == before


def test_a_second_writer_is_refused_and_a_reader_is_not(copied, opened):
    opened(copied)
    assert "is in use by another training" in refused(Checkpoints, str(copied))
    reader = Checkpoints(str(copied), read_only=True)
    assert reader.find("last") == 5
    reader.close()


def test_an_emptied_checkpoint_is_named(copied, opened):
    shutil.rmtree(copied / "checkpoints/5")
    (copied / "checkpoints/5").mkdir()
    message = refused(opened(copied).describe, 5)
    assert message.startswith(f"{copied}/checkpoints/5: the checkpoint cannot be rest")


def test_another_structure_is_named(five, opened):
    other = abstract().replace(params={"tail": abstract().step})
    assert "checkpoints/4: the" in refused(opened(five).restore, 4, other)


@pytest.mark.parametrize("below", ["", "deep/down"])
def test_a_workdir_that_cannot_be_made(tmp_path, below):
    file = tmp_path / "file"
    file.write_text("mine")
    message = refused(Checkpoints, str(file / below))
    assert message.startswith(
        f"--workdir: {file / below}/checkpoints cannot be written"
    )
    assert file.read_text() == "mine"


def test_a_file_in_the_place_of_the_checkpoints(tmp_path):
    (tmp_path / "checkpoints").write_text("mine")
    assert "cannot be written" in refused(Checkpoints, str(tmp_path))
    assert (tmp_path / "checkpoints").read_text() == "mine"
