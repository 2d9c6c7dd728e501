import pytest

from train.user.names import nearest


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("shape", "did you mean 'shapes'? There are: folder, shapes, voc2012"),
        ("voc", "did you mean 'voc2012'? There are: folder, shapes, voc2012"),
        ("camvid", "there are: folder, shapes, voc2012"),
        ("", "there are: folder, shapes, voc2012"),
    ],
)
def test_the_closest_name_or_all_of_them(name, wanted):
    assert nearest(name, {"voc2012", "shapes", "folder"}) == wanted
