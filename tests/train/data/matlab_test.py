import numpy as np
import pytest
import scipy.io
import scipy.sparse

from train.data.matlab import read_mat
from train.user.errors import UserError


@pytest.fixture
def sbd(tmp_path, indices):
    """A mask file as in SBD: a 1x1 struct of cells of sparse edges, map and classes."""
    edges = np.empty((20, 1), object)
    for number in range(20):
        edges[number, 0] = scipy.sparse.csc_matrix(indices == number + 1)
    mask = np.where(indices == 255, 0, indices).astype(np.uint8)
    fields = {
        "Boundaries": edges,
        "Segmentation": mask,
        "CategoriesPresent": np.array([[1.0], [2.0]]),
    }
    path = tmp_path / "2008_000002.mat"
    scipy.io.savemat(path, {"GTcls": fields}, do_compression=True)
    return path, mask


def test_the_field_of_a_struct(sbd):
    path, mask = sbd
    struct = scipy.io.loadmat(path)["GTcls"]
    assert struct.shape == (1, 1)  # the nesting of the real files
    assert struct["Segmentation"].dtype == object
    found = read_mat(path, "GTcls", "Segmentation")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, mask)


def test_a_plain_variable(tmp_path, write_mat):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 40
    path = write_mat(tmp_path / "a.mat", "LabelMap", values)
    np.testing.assert_array_equal(read_mat(path, "LabelMap"), values)


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.97])
def test_truncated(sbd, share):
    path, _ = sbd
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError) as error:
        read_mat(path, "GTcls", "Segmentation")
    message = str(error.value)
    assert message.startswith(f"{path}: has no readable GTcls.Segmentation (")
    assert message.endswith("restore the file from its archive")
    assert "\n" not in message


def test_damaged_in_the_middle(sbd):
    path, _ = sbd
    data = bytearray(path.read_bytes())
    data[300:330] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(UserError, match="has no readable GTcls"):
        read_mat(path, "GTcls", "Segmentation")


@pytest.mark.parametrize("names", [("GTinst", "Segmentation"), ("GTcls", "Edges")])
def test_another_content(sbd, names):
    with pytest.raises(UserError, match=r"no readable \w+\.\w+"):
        read_mat(sbd[0], *names)


def test_absent(tmp_path):
    with pytest.raises(UserError, match=r"none\.mat: has no readable S"):
        read_mat(tmp_path / "none.mat", "S")


@pytest.mark.parametrize("value", ["text", np.zeros((2, 2, 2)), {"a": 1}])
def test_what_is_no_map(tmp_path, write_mat, value):
    path = write_mat(tmp_path / "a.mat", "S", value)
    with pytest.raises(UserError, match=r"S is no label map \(H, W\) of numbers"):
        read_mat(path, "S")
