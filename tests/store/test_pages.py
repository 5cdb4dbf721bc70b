"""What is packed comes back, bit for bit."""

import zlib

import numpy as np
import pytest

from igr.store.pages import packed, unpacked

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("whole", ["<i4", "<i8"])
@pytest.mark.parametrize("count", [1, 2, 63, 5000])
def test_rows_come_back_bit_for_bit(whole, count):
    rows = np.zeros(count, [("at", whole, (3,)), ("class", "u1"), ("time", "<f8"), ("color", "u1", (3,))])
    limits = np.iinfo(whole)
    rows["at"][:, 0] = np.sort(RNG.integers(0, 1000, count))
    rows["at"][:, 1] = RNG.integers(limits.min, limits.max, count, endpoint=True)
    rows["at"][:, 2] = np.where(np.arange(count) % 2, limits.max, limits.min)
    rows["time"] = RNG.normal(size=count)
    rows["color"] = RNG.integers(0, 256, (count, 3))
    before = rows.copy()
    page = packed(rows)
    assert rows.tobytes() == before.tobytes()
    assert unpacked(page, count, rows.dtype).tobytes() == before.tobytes()


def test_what_is_near_takes_little_room():
    rows = np.zeros(10_000, [("at", "<i4", (3,)), ("class", "u1")])
    rows["at"] = np.cumsum(RNG.integers(-100, 100, (10_000, 3)), axis=0)
    assert len(packed(rows)) < 0.3 * rows.nbytes


def test_a_damaged_page_is_no_rows():
    rows = np.zeros(1000, [("at", "<i4", (3,))])
    page = bytearray(packed(rows))
    page[-3] ^= 255
    with pytest.raises((ValueError, zlib.error)):
        unpacked(bytes(page[:-2]), 1000, rows.dtype)
