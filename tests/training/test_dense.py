"""Where things are: maps from masks, their motion, and what the tower learns from them."""

from __future__ import annotations

import numpy as np
import torch
from toy import ToySource

from ethicclip import clip
from ethicclip.clip.preprocessing import FundusPreprocess, Square
from ethicclip.imaging import read_image
from ethicclip.terms import STRUCTURES
from ethicclip.training import TrainSettings, train
from ethicclip.training.dense import DenseHeads, dense_loss, supports_dense
from ethicclip.training.truth import GRID, moved, stacked, truth_maps

CUP = STRUCTURES.index("cup")


def test_a_mask_lands_in_the_cells_of_the_square_that_it_covers():
    # The square is the right half of a 560 x 280 picture: a cell is 10 x 10 pixels.
    square = Square(left=280, top=0, side=280, width=560)
    mask = np.zeros((280, 560), dtype=np.bool_)
    mask[42:48, 301:309] = True
    maps = truth_maps({"cup": mask, "something else": mask}, square)
    assert maps.shape == (GRID, GRID, len(STRUCTURES))
    assert np.argwhere(maps[..., CUP] > 60).tolist() == [[4, 2]]
    assert not maps[..., [i for i in range(len(STRUCTURES)) if i != CUP]].any()


def test_a_single_pixel_is_not_lost():
    square = Square(left=0, top=0, side=448, width=448)
    mask = np.zeros((448, 448), dtype=np.bool_)
    mask[100:102, 300:302] = True
    maps = truth_maps({"cup": mask}, square)
    assert np.argwhere(maps[..., CUP] > 60).tolist() == [[6, 18]]


def test_maps_move_with_the_picture():
    maps = np.zeros((GRID, GRID, len(STRUCTURES)), dtype=np.uint8)
    maps[10, 5, CUP] = 255
    by_two_cells = np.array([[1.0, 0.0, 16.0], [0.0, 1.0, -8.0]])
    result = moved(maps, by_two_cells, size=224)
    assert np.argwhere(result).tolist() == [[9, 7, CUP]]
    assert np.array_equal(moved(maps, np.array([[1.0, 0, 0], [0, 1.0, 0]]), size=224), maps)


def test_preprocessing_says_where_its_square_was():
    source = ToySource()
    pair = source.read(2)  # glaucoma: one pale disc
    image = read_image(pair.image)
    pixels, square = FundusPreprocess(size=112).pixels_and_square(image)
    maps = truth_maps(source.masks_of(2, pair), square)
    bright = pixels.max(axis=2).reshape(GRID, 4, GRID, 4).max(axis=(1, 3)) > 220
    cells = maps[..., CUP] > 64
    assert cells.any()
    # Where the mask says "cup", the model's input is brighter than its surround.
    assert bright[cells].mean() > 0.5


def test_batches_know_which_pairs_have_maps():
    maps = np.ones((GRID, GRID, len(STRUCTURES)), dtype=np.uint8)
    assert stacked([None, None]) is None
    together, known = stacked([None, maps])
    assert known.tolist() == [False, True]
    assert not together[0].any()
    assert together[1].all()


def test_pairs_without_maps_do_not_count():
    logits = [torch.randn(2, len(STRUCTURES), 14, 14, requires_grad=True)]
    truth = torch.zeros(2, len(STRUCTURES), GRID, GRID)
    truth[0, CUP, 3, 4] = 1.0
    loss = dense_loss(logits, truth, torch.tensor([True, False]))
    loss.backward()
    assert logits[0].grad[0].abs().sum() > 0
    assert logits[0].grad[1].abs().sum() == 0
    assert dense_loss(logits, truth, torch.tensor([False, False])) == 0


def test_the_right_answer_has_the_lowest_loss():
    truth = torch.zeros(1, len(STRUCTURES), GRID, GRID)
    truth[0, CUP, 3, 4] = 1.0
    right = torch.full((1, len(STRUCTURES), 14, 14), -9.0)
    right[0, CUP, 1, 2] = 9.0  # cell (3, 4) of 28 is cell (1, 2) of 14
    wrong = right.flip(-1)
    known = torch.tensor([True])
    assert dense_loss([right], truth, known) < 0.001 < dense_loss([wrong], truth, known)


def test_towers_without_feature_maps_are_left_alone(tmp_path):
    assert not supports_dense(clip.create("ViT-B-32", image_size=32).model.visual)
    heads = DenseHeads(clip.create("nano").model.visual)
    assert len(heads.heads) == 3


def test_maps_help_and_leave_nothing_in_the_model(tmp_path):
    settings = TrainSettings(model="nano", epochs=2, batch_size=12, learning_rate=3e-3)
    train(settings, [ToySource(count=24)], tmp_path / "with")
    train(settings.model_copy(update={"dense_weight": 0.0}), [ToySource(count=24)], tmp_path / "without")
    with_maps = (tmp_path / "with" / "open_clip_model.safetensors").stat().st_size
    assert with_maps == (tmp_path / "without" / "open_clip_model.safetensors").stat().st_size
    assert (tmp_path / "with" / "log.csv").read_text() != (tmp_path / "without" / "log.csv").read_text()
