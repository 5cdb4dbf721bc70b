"""The fields of blocks as one: shares that add up to one, and gradients that are those of the values."""

import numpy as np
import pytest

from igr.cloud.frame import Frame
from igr.large.blend import BlendedField, Part, Partition

BOXES = np.array(
    [
        [[0, 0, 0], [1.0, 0.4, 1]],
        [[0, 0.4, 0], [1.0, 1, 1]],
        [[1, 0, 0], [2, 1, 0.3]],
        [[1, 0, 0.3], [1.6, 1, 1]],
        [[1.6, 0, 0.3], [2, 1, 1.0]],
    ]
)


class Bowl:
    """A field: the distance to a sphere."""

    def __init__(self, radius):
        self.radius = radius

    def distance(self, x):
        return np.linalg.norm(x, axis=1) - self.radius

    def distance_and_gradient(self, x):
        return self.distance(x), x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def places():
    return np.random.default_rng(0).uniform([-0.3, -0.3, -0.3], [2.3, 1.3, 1.3], (4000, 3))


def test_the_shares_of_all_blocks_add_up_to_one_everywhere(places):
    total, slope = np.zeros(len(places)), np.zeros(places.shape)
    for _, rows, share, change in Partition(BOXES).shares(places):
        assert (share > 0).all()
        total[rows] += share
        slope[rows] += change
    assert np.allclose(total, 1)
    assert np.allclose(slope, 0, atol=1e-9)


def test_a_block_has_no_say_beyond_the_band_around_it(places):
    partition = Partition(BOXES)
    for block, rows, _, _ in partition.shares(places):
        low, high = BOXES[block] + partition.margin[block] * np.array([[-1], [1]])
        outer = (BOXES[:, 0].min(0), BOXES[:, 1].max(0))
        low, high = np.where(BOXES[block, 0] == outer[0], -9, low), np.where(BOXES[block, 1] == outer[1], 9, high)
        assert ((places[rows] >= low) & (places[rows] <= high)).all()


def test_blocks_that_are_not_near_a_box_have_no_say_there(places):
    partition = Partition(BOXES)
    says = np.zeros((len(BOXES), len(places)), bool)
    for block, rows, _, _ in partition.shares(places):
        says[block, rows] = True
    for block in range(len(BOXES)):
        box = BOXES[block] + partition.margin[block] * np.array([[-1], [1]])
        within = ((places >= box[0]) & (places < box[1])).all(1)
        for other in set(range(len(BOXES))) - set(partition.near(box)):
            assert not says[other, within].any()


def test_the_same_boxes_in_another_order_have_the_same_shares(places):
    order = np.array([3, 0, 4, 2, 1])
    first = {block: (rows, share) for block, rows, share, _ in Partition(BOXES).shares(places)}
    for block, rows, share, _ in Partition(BOXES[order]).shares(places):
        known = first[order[block]]
        assert (np.sort(rows) == np.sort(known[0])).all()
        assert np.allclose(share[np.argsort(rows)], known[1][np.argsort(known[0])])


def test_boxes_that_no_plane_divides_are_refused():
    spiral = np.array([[[0, 0], [2, 1]], [[2, 0], [3, 2]], [[1, 2], [3, 3]], [[0, 1], [1, 3]], [[1, 1], [2, 2]]])
    boxes = np.concatenate([spiral, np.tile([[[0], [1]]], (5, 1, 1))], axis=2).astype(float)
    with pytest.raises(ValueError, match="k-d tree"):
        Partition(boxes)


def test_the_gradient_of_the_blend_is_that_of_its_values(places):
    parts = [
        Part(Bowl(1.0 + 0.01 * block), Frame(np.array([0.1, 0.2, -0.1]), 1.3), box + [[0.02], [-0.02]])
        for block, box in enumerate(BOXES)
    ]
    field = BlendedField(Bowl(1.4), Partition(BOXES), parts.__getitem__)  # type: ignore[arg-type]
    value, gradient = field.distance_and_gradient(places)
    assert np.allclose(value, field.distance(places))
    step = 1e-6
    for axis in range(3):
        ahead, behind = (field.distance(places + sign * step * np.eye(3)[axis]) for sign in (1, -1))
        error = np.abs((ahead - behind) / (2 * step) - gradient[:, axis])
        assert np.quantile(error, 0.999) < 1e-4  # a kink of smoothstep lies between few places


def test_equal_fields_blend_to_themselves(places):
    frame = Frame(np.array([0.1, 0.2, -0.1]), 1.3)
    inner, outer = Bowl(1.0), Part(Bowl(1.0), frame, np.array([[-9.0] * 3, [9.0] * 3]))
    field = BlendedField(outer, Partition(BOXES), lambda block: Part(inner, frame, BOXES[block]))  # type: ignore[arg-type]
    assert np.allclose(field.distance(places), outer.distance(places))
