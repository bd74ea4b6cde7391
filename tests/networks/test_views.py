"""Views show the image moved, larger or smaller about its middle, at its own size."""

import pytest
import torch

from siamese_lab.networks.views import VIEWS, larger, mirrored, smaller


def disc(radius, high=64, wide=96):
    """Return a disc: 1 within `radius` pixels of the middle, with soft edges."""
    y_H1, x_1W = torch.arange(high)[:, None] - (high - 1) / 2, torch.arange(wide) - (wide - 1) / 2
    return (radius - (y_H1**2 + x_1W**2).sqrt()).sigmoid()[None, None]


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (105, 105), (64, 96), (16, 16)])
@pytest.mark.parametrize("name", VIEWS)
def test_views_have_the_shape_and_the_range_of_the_image(name, size):
    images_BCHW = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0))
    view_BCHW = VIEWS[name](images_BCHW)
    assert view_BCHW.shape == images_BCHW.shape
    assert 0 <= view_BCHW.min() < view_BCHW.max() <= 1
    torch.testing.assert_close(VIEWS[name](torch.full_like(images_BCHW, 0.25)), torch.full_like(images_BCHW, 0.25))


@pytest.mark.parametrize(("view", "times"), [(larger, 68 / 64), (smaller, 60 / 64)])
def test_a_disc_in_the_middle_grows_or_shrinks(view, times):
    # Margins of 2 and 3 of 64×96 pixels grow by the same factor in both directions.
    torch.testing.assert_close(view(disc(20.0)), disc(20.0 * times), atol=0.06, rtol=0)
    assert (view(disc(20.0)) - disc(20.0)).abs().max() > 0.2


def test_mirrored_flips_left_and_right():
    images_BCHW = torch.rand(1, 1, 4, 5)
    assert torch.equal(mirrored(images_BCHW)[..., 0], images_BCHW[..., 4])
    assert torch.equal(mirrored(mirrored(images_BCHW)), images_BCHW)
