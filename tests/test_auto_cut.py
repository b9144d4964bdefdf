"""Parts of planes with a mirrored halo."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fm2s_stack.auto.cut import cut


@st.composite
def parts(draw: st.DrawFn) -> tuple[tuple[int, int], int]:
    """A part of an axis, and the axis' length."""
    length = draw(st.integers(1, 40))
    start = draw(st.integers(0, length - 1))
    return (start, draw(st.integers(start + 1, length))), length


def mirrored(own: tuple[int, int], length: int, halo: int, multiple: int) -> np.ndarray:
    """Numbers of the pixels, by way of the whole axis."""
    size = next(n for n in range(own[1] - own[0], 999) if n % multiple == 0)
    padded = np.pad(np.arange(length), (halo, halo + multiple), mode="symmetric")
    return padded[own[0] : own[0] + size + 2 * halo]


@given(parts(), st.integers(0, 100), st.integers(1, 4))
@example(((0, 1), 1), 8, 2)
@example(((2, 5), 5), 8, 2)
@example(((0, 3), 3), 50, 2)
def test_a_part_is_cut_as_if_the_whole_plane_had_been_mirrored(part, halo, multiple):
    own, length = part
    found = cut(own, length, halo, multiple)
    plane = np.arange(length)
    np.testing.assert_array_equal(
        plane[found.read][found.order], mirrored(own, length, halo, multiple)
    )


@given(parts(), st.integers(0, 100))
def test_no_more_is_read_than_is_shown(part, halo):
    own, length = part
    shown = mirrored(own, length, halo, 1)
    assert cut(own, length, halo).read == slice(shown.min(), shown.max() + 1)


@given(parts(), parts(), st.integers(0, 30))
def test_rows_and_columns_are_cut_alike(rows, columns, halo):
    plane = np.random.default_rng(0).random((rows[1], columns[1]))
    y, x = (cut(*part, halo) for part in (rows, columns))
    got = plane[y.read, x.read][np.ix_(y.order, x.order)]
    padded = np.pad(plane, halo, mode="symmetric")
    (top, bottom), (left, right) = rows[0], columns[0]
    np.testing.assert_array_equal(got, padded[top : bottom + 2 * halo, left : right + 2 * halo])
