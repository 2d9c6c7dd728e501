"""Images of rare classes are drawn more often, as LVIS says."""

import numpy as np

from train.data.repeat import repeat_factors, repeat_rare

HOLDS = np.zeros((100, 4), bool)
HOLDS[:, 0] = True  # background
HOLDS[:4, 1] = True  # one in 25
HOLDS[3:12, 2] = True  # one in 11; image 3 holds both
SHARE = 0.16


def test_factors_are_those_of_the_rarest_class():
    factors = repeat_factors(HOLDS, SHARE)
    np.testing.assert_allclose(factors[:4], (0.16 / 0.04) ** 0.5)
    np.testing.assert_allclose(factors[4:12], (0.16 / 0.09) ** 0.5)
    np.testing.assert_array_equal(factors[12:], 1)


def test_each_image_stands_as_often_as_its_factor_says_on_average():
    count = 400
    seeds = [repeat_rare(range(100), HOLDS, SHARE, seed) for seed in range(count)]
    drawn = np.bincount(
        [int(source[i]) for source in seeds for i in range(len(source))], minlength=100
    )
    factors = repeat_factors(HOLDS, SHARE)
    deviation = 5 * 0.5 * count**0.5
    np.testing.assert_allclose(drawn, count * factors, atol=deviation)
    np.testing.assert_array_equal(drawn[12:], count)  # what is not rare: once


def test_the_seed_alone_decides_and_none_changes_nothing():
    def rows(seed):
        source = repeat_rare(range(100), HOLDS, SHARE, seed)
        return [source[i] for i in range(len(source))]

    assert rows(3) == rows(3) != rows(4)
    source = range(100)
    assert repeat_rare(source, HOLDS, None, 0) is source
