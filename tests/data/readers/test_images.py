"""Any picture: read whole, or refused with file, reason and way out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.images import find_pictures, read_array, read_labels, read_rgb
from tests.data.layouts import save, tile

IMAGE, LABELS = tile()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", {}),
        (".tif", {"compression": "tiff_lzw"}),
        (".tif", {"compression": "tiff_deflate"}),
        (".bmp", {}),
        (".webp", {"lossless": True}),
    ],
)
def test_lossless_formats_come_back_identical(tmp_path, suffix, options):
    assert np.array_equal(read_rgb(save(tmp_path / f"a{suffix}", IMAGE, **options)), IMAGE)


def test_the_format_is_told_by_the_content(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path, "JPEG", quality=95)
    assert np.abs(read_rgb(path).astype(int) - IMAGE).mean() < 10


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_label_maps_come_back_identical(tmp_path, dtype):
    labels = (LABELS * 80).astype(dtype)
    for suffix in (".tif",) if dtype == np.int32 else (".png", ".tif"):
        assert np.array_equal(read_labels(save(tmp_path / f"a{suffix}", labels)), labels)
    np.save(tmp_path / "a.npy", labels)
    assert np.array_equal(read_labels(tmp_path / "a.npy"), labels)


def test_a_palette_gives_colours_of_a_picture_and_indices_of_a_label_map(tmp_path):
    palette = Image.fromarray(LABELS.astype(np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0, 250, 10, 10, 10, 250, 10, 10, 10, 250])
    palette.save(tmp_path / "a.png")
    assert np.array_equal(read_labels(tmp_path / "a.png"), LABELS)
    assert read_rgb(tmp_path / "a.png")[LABELS == 1].tolist()[0] == [250, 10, 10]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_a_channel_are_not_cut_to_8(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), IMAGE[..., ::-1].astype(np.uint16) * 257)
    with pytest.warns(UserWarning, match=rf"a\{suffix}: 16-bit divided by 257"):
        assert np.array_equal(read_rgb(path), IMAGE)
    cv2.imwrite(str(path), IMAGE[..., ::-1].astype(np.uint16) * 200)
    with pytest.raises(UnreadableFile, match=rf"a\{suffix}: uint16 up to \d+; choose the range to show"):
        read_rgb(path)


def test_tiffs_that_pillow_does_not_know_are_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", (IMAGE / 255).astype(np.float32), photometric="rgb")
    with pytest.warns(UserWarning, match=r"a\.tif: float in \[0, 1\] scaled"):
        assert np.array_equal(read_rgb(tmp_path / "a.tif"), IMAGE)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (IMAGE[..., 0], "grey repeated to RGB"),
        (np.dstack([IMAGE, np.full(IMAGE.shape[:2], 255, np.uint8)]), "opaque alpha dropped"),
    ],
)
def test_harmless_conversions_are_said(tmp_path, array, said):
    path = save(tmp_path / "a.png", array)
    with pytest.warns(UserWarning, match=said):
        assert read_rgb(path).shape == IMAGE.shape


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_picture_is_named(tmp_path, suffix, share):
    whole = save(tmp_path / f"whole{suffix}", np.tile(IMAGE, (4, 4, 1))).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableFile, match=rf"cut\{suffix}: no intact .*; replace it with an intact"):
        read_rgb(path)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_array_is_named(tmp_path, share):
    np.save(tmp_path / "whole.npy", LABELS)
    whole = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableFile, match=r"cut\.npy: no intact \.npy array"):
        read_labels(tmp_path / "cut.npy")


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"ids": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableFile, match=r"a\.npy: no intact \.npy array .*allow_pickle"):
        read_labels(tmp_path / "a.npy")


def test_text_and_folders_are_refused(tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(UnreadableFile, match=r"a\.png: no intact picture"):
        read_rgb(tmp_path / "a.png")
    with pytest.raises(UnreadableFile, match="no intact picture"):
        read_rgb(tmp_path)


def test_several_pictures_in_one_file_are_refused(tmp_path):
    pages = [Image.fromarray(IMAGE)] * 3
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadableFile, match=r"a\.tif: it holds 3 pictures; save one picture per file\."):
        read_array(tmp_path / "a.tif")


def test_what_the_door_refuses_names_the_file(tmp_path):
    see_through = np.dstack([IMAGE, np.full(IMAGE.shape[:2], 9, np.uint8)])
    with pytest.raises(UnreadableFile, match=r"a\.png: it is partly transparent; flatten it on white"):
        read_rgb(save(tmp_path / "a.png", see_through))
    np.save(tmp_path / "a.npy", -LABELS)
    with pytest.raises(UnreadableFile, match=r"a\.npy: it holds negative ids; use 0 for background"):
        read_labels(tmp_path / "a.npy")
    with pytest.raises(UnreadableFile, match=r"b\.png: shape \(24, 24, 3\) is not a label map"):
        read_labels(save(tmp_path / "b.png", IMAGE))


def test_pictures_are_found_by_name_without_hidden_files(tmp_path):
    for name in ("b.tif", "a.png", "._a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures(tmp_path)] == ["a.png", "b.tif"]
    assert find_pictures(tmp_path / "absent") == []
