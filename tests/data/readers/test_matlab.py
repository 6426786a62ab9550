"""MATLAB label files: both ways to list classes, and broken files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.matlab import read_mat, read_mat_classes
from tests.data.layouts import tile

LABELS = tile()[1]


def written(tmp_path, **content):
    savemat(tmp_path / "a.mat", content)
    return tmp_path / "a.mat"


def test_classes_in_the_order_of_the_ids(tmp_path):
    path = written(tmp_path, inst_map=LABELS.astype(float), inst_type=np.array([[2], [4], [7]]))
    instances, class_of = read_mat(path)
    assert np.array_equal(instances, LABELS)
    assert instances.dtype == np.int32
    assert class_of == {1: 2, 2: 4, 3: 7}
    assert read_mat_classes(path).tolist() == [2, 4, 7]


def test_classes_beside_their_ids(tmp_path):
    path = written(tmp_path, inst_map=LABELS, id=[[3], [1], [2]], **{"class": [[6], [5], [4]]})
    assert read_mat(path)[1] == {3: 6, 1: 5, 2: 4}


def test_ids_with_holes_keep_their_classes(tmp_path):
    holes = np.where(LABELS == 2, 0, LABELS)
    assert read_mat(written(tmp_path, inst_map=holes, inst_type=[2, 4, 7]))[1] == {1: 2, 2: 4, 3: 7}
    assert read_mat(written(tmp_path, inst_map=holes, inst_type=[2, 7]))[1] == {1: 2, 3: 7}


def test_classes_by_pixel_or_none(tmp_path):
    assert read_mat(written(tmp_path, inst_map=LABELS, type_map=LABELS * 2))[1] == {1: 2, 2: 4, 3: 6}
    assert read_mat(written(tmp_path, inst_map=LABELS))[1] == {}
    assert read_mat_classes(written(tmp_path, inst_map=LABELS)).tolist() == []


def test_a_file_without_nuclei(tmp_path):
    instances, class_of = read_mat(written(tmp_path, inst_map=LABELS * 0, inst_type=np.zeros((0, 1))))
    assert not instances.any()
    assert class_of == {}


def test_a_file_without_inst_map_lists_what_it_has(tmp_path):
    with pytest.raises(UnreadableFile, match=r"a\.mat: no inst_map in it, only centroid, mask; use the"):
        read_mat(written(tmp_path, mask=LABELS, centroid=[1, 2]))


def test_columns_of_unequal_length(tmp_path):
    with pytest.raises(UnreadableFile, match=r"a\.mat: 5 classes for 3 instances"):
        read_mat(written(tmp_path, inst_map=LABELS, inst_type=[1, 2, 3, 4, 5]))


def test_ids_that_are_none(tmp_path):
    with pytest.raises(UnreadableFile, match=r"a\.mat: inst_map: it holds fractions"):
        read_mat(written(tmp_path, inst_map=LABELS * 0.5))


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.99])
def test_truncated_files_are_named(tmp_path, share):
    whole = written(tmp_path, inst_map=LABELS).read_bytes()
    (tmp_path / "cut.mat").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableFile, match=r"cut\.mat: no"):
        read_mat(tmp_path / "cut.mat")


def test_text_is_no_mat_file(tmp_path):
    (tmp_path / "a.mat").write_text("inst_map = 3\n" * 40)
    with pytest.raises(UnreadableFile, match=r"a\.mat: no intact \.mat file"):
        read_mat(tmp_path / "a.mat")


def test_matlab_7_3_says_how_to_save_it(tmp_path):
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "a.mat").write_bytes(header + bytes(512))
    with pytest.raises(UnreadableFile, match=r"a\.mat: a MATLAB 7\.3 file; save it from MATLAB with"):
        read_mat(tmp_path / "a.mat")
