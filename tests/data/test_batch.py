"""What a batch has by default, and batches joined."""

import pytest
import torch

from nucbook.data.batch import Batch


def batch(**maps):
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    return Batch(torch.zeros(2, 3, 4, 4), valid, **maps)


LABELS = torch.arange(32, dtype=torch.int32).view(2, 4, 4)


def test_what_is_not_known_has_its_default():
    known = batch(instances=LABELS)
    assert known.whole.all()
    assert known.annotated.all()
    assert torch.equal(known.context, LABELS)
    assert torch.equal(known.layers, LABELS[:, None])
    assert not known.classes.any()
    assert torch.equal(known.target(lambda labels: labels * 2), LABELS * 2)


def test_without_masks_there_are_no_nuclei():
    for name in ("instances", "context", "classes", "layers", "voronoi"):
        with pytest.raises(AttributeError, match=f"no map '{name}'; its maps are cluster"):
            getattr(batch(cluster=LABELS), name)


def test_targets_are_computed_without_nuclei_out_of_sight():
    context = torch.zeros(2, 8, 8, dtype=torch.int32)
    context[:, 1:4, 1:4], context[:, 6:, 6:] = 5, 9
    cut = batch(instances=context[:, 2:6, 2:6], context=context)
    assert torch.equal(cut.target(lambda labels: labels), cut.instances)
    largest = lambda labels: torch.full_like(labels, labels.max())
    assert cut.target(largest).unique().tolist() == [5]
    size = lambda labels: (labels == 5).sum((1, 2))[:, None, None].expand_as(labels)
    assert cut.target(size).unique().tolist() == [9]  # all 3×3 px, of which the crop has four


def test_joined_batches_keep_what_either_knows():
    one = batch(instances=LABELS, classes=LABELS % 3, annotated=LABELS > 5)
    two = batch(instances=LABELS, layers=torch.stack([LABELS, LABELS * 2], 1))
    both = Batch.concatenate([one, two])
    assert len(both) == 4
    assert torch.equal(both.classes, torch.cat([LABELS % 3, LABELS * 0]))
    assert torch.equal(both.annotated, torch.cat([LABELS > 5, LABELS >= 0]))
    assert torch.equal(both.layers[:2, 0], LABELS)
    assert not both.layers[:2, 1].any()
    assert torch.equal(both.layers[2:, 1], LABELS * 2)


def test_a_batch_moves_with_its_maps():
    moved = batch(instances=LABELS).to("meta")
    assert {t.device.type for t in (moved.image, moved.valid, moved.instances, moved.whole)} == {"meta"}
