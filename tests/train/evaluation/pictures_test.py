"""Masks as pictures: every pixel by hand."""

import numpy as np

from train.evaluation.pictures import GAP, IGNORE_COLOR, colorize, overlay, panel

PALETTE = np.array([[1, 2, 3], [40, 50, 60]], np.uint8)


def test_each_class_gets_its_colour_and_ignored_pixels_their_own():
    labels = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
    colors = {0: (1, 2, 3), 1: (40, 50, 60), 255: IGNORE_COLOR}
    wanted = [[colors[int(label)] for label in row] for row in labels]
    np.testing.assert_array_equal(colorize(labels, PALETTE), wanted)


def test_a_full_palette_keeps_the_ignore_colour():
    palette = np.full((256, 3), 9, np.uint8)
    assert tuple(colorize(np.array([[255]]), palette)[0, 0]) == IGNORE_COLOR


def test_overlay_mixes_without_overflow():
    image = np.array([[[0, 100, 255]]], np.uint8)
    colors = np.array([[[200, 100, 255]]], np.uint8)
    mixed = overlay(image, colors, opacity=0.25)
    assert mixed.dtype == np.uint8
    np.testing.assert_array_equal(mixed, [[[50, 100, 255]]])


def test_a_panel_keeps_pictures_of_different_sizes_whole():
    small = np.full((2, 3, 3), 10, np.uint8)
    large = np.full((4, 5, 3), 20, np.uint8)
    grid = panel([[small, large], [large, small]])
    wanted = np.full((2 * (4 + GAP), 2 * (5 + GAP), 3), 255)
    wanted[:2, :3] = 10
    wanted[:4, 5 + GAP : 10 + GAP] = 20
    wanted[4 + GAP : 8 + GAP, :5] = 20
    wanted[4 + GAP : 6 + GAP, 5 + GAP : 8 + GAP] = 10
    np.testing.assert_array_equal(grid, wanted)
