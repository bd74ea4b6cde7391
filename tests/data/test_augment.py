"""Augmentation follows its options, changes each image separately, and can be resumed."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as tvf
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode

from siamese_lab.data.augment.affine import RandomAffine
from siamese_lab.data.augment.erasing import RandomErasing
from siamese_lab.data.augment.light import RandomLight
from siamese_lab.data.augment.pipeline import Augmentation, to_float

MOVES = {"rotation": 20.0, "scale": 0.2, "shear": 10.0, "translation": 0.2, "mirror": True}
EVERYTHING = MOVES | {"brightness": 0.3, "contrast": 0.3, "erasing": 0.5}
COLOR_AND_CROP = {"saturation": 0.4, "hue": 0.1, "crop_scale": [0.2, 1.0]}


def images(count=4, channels=1, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


def affine(images_BCHW, drawn=None, **options):
    """Apply `RandomAffine` to images in 0…1 with the given draws in −1…1 for each image; other draws are 0."""
    names = ("turn", "shear", "size", "across", "down", "side")
    draws_6B = torch.zeros(6, len(images_BCHW))
    for name, value in (drawn or {}).items():
        draws_6B[names.index(name)] = value
    return move(images_BCHW, draws_6B, **options)


def move(images_BCHW, draws_6B, **options):
    affine = RandomAffine(**options)
    return affine(to_float(images_BCHW), affine.maps(draws_6B))


def test_to_float():
    assert to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert to_float(images()).dtype == torch.float32


def test_without_any_range_images_are_unchanged():
    torch.testing.assert_close(Augmentation()(images()), to_float(images()), atol=1e-5, rtol=0)
    torch.testing.assert_close(affine(images(), rotation=1e-9), to_float(images()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_rotation_by_a_quarter_turn(sign, interpolation):
    turned = affine(images(channels=3), {"turn": sign}, rotation=90, interpolation=interpolation)
    torch.testing.assert_close(turned, to_float(images(channels=3)).rot90(sign, (2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("across", "down"), [(1, 0), (-1, 0), (0, 1), (-1, 0.5)])
def test_translation_shifts_by_a_fraction_of_the_side_and_fills_with_black(across, down):
    expected = torch.zeros(4, 1, 8, 8)
    shift_x, shift_y = -round(across * 2), -round(down * 2)
    for y in range(8):
        for x in range(8):
            if 0 <= y - shift_y < 8 and 0 <= x - shift_x < 8:
                expected[:, :, y, x] = to_float(images())[:, :, y - shift_y, x - shift_x]
    moved = affine(images(), {"across": across, "down": down}, translation=0.25)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "draws", "expected"),
    [
        ({"rotation": 30.0}, {"turn": 1}, {"angle": -30.0}),
        ({"rotation": 30.0}, {"turn": -0.5}, {"angle": 15.0}),
        ({"scale": 0.5}, {"size": 1}, {"scale": 1.5}),
        ({"scale": 0.2}, {"size": -1}, {"scale": 0.8}),
        ({"shear": 20.0}, {"shear": 1}, {"shear": [20.0, 0.0]}),
        ({"shear": 20.0}, {"shear": -1}, {"shear": [-20.0, 0.0]}),
        ({"rotation": 40.0, "scale": 0.1}, {"turn": 1, "size": 1}, {"angle": -40.0, "scale": 1.1}),
    ],
)
def test_agrees_with_torchvision(options, draws, expected):
    plain = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    theirs = tvf.affine(to_float(images(side=15)), **(plain | expected), interpolation=InterpolationMode.BILINEAR)
    torch.testing.assert_close(affine(images(side=15), draws, **options), theirs, atol=1e-4, rtol=0)


def by_grid_sample(images_BCHW, draws_6B, rotation, scale, shear, translation, mirror):
    """Compute the maps from their definition, in the units of `grid_sample`, in float64."""
    maps = []
    for turn, sheared, size, across, down, side in draws_6B.double().T:
        angle, slope = turn * math.radians(rotation), torch.tan(sheared * math.radians(shear))
        turned = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
        sheared_by = torch.tensor([[1.0, slope], [0.0, 1.0]], dtype=torch.float64)
        linear = turned @ sheared_by / (1 + size * scale)
        if mirror and side < 0:
            linear = linear @ torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))
        maps.append(torch.cat([linear, 2 * translation * torch.stack([across, down])[:, None]], 1))
    grid_BHW2 = F.affine_grid(torch.stack(maps), list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW.double() / 255, grid_BHW2, align_corners=False).float()


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    side=st.integers(2, 20),
    seed=st.integers(0, 99),
)
def test_bilinear_equals_grid_sample_at_full_precision(count, channels, side, seed):
    draws_6B = torch.rand(6, count, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    options = {"rotation": 45.0, "scale": 0.5, "shear": 20.0, "translation": 0.5, "mirror": True}
    before = images(count, channels, side, seed)
    after = move(before, draws_6B, **options)
    torch.testing.assert_close(after, by_grid_sample(before, draws_6B, **options), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_nearest_copies_pixels(channels):
    draws_6B = torch.rand(6, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = images(50, channels, 12)
    after = move(before, draws_6B, **MOVES, interpolation="nearest")
    for old, new in zip(to_float(before), after, strict=True):
        assert set(new.flatten().tolist()) <= {0.0, *old.flatten().tolist()}
    smooth = move(before, draws_6B, **MOVES)
    assert (after - smooth).abs().mean() < (after - smooth.roll(1, 0)).abs().mean() / 2


def test_wide_images_turn_without_becoming_oblique():
    before = torch.zeros(1, 1, 9, 21, dtype=torch.uint8)
    before[..., 4, 7:14] = 255
    turned = affine(before, {"turn": 1}, rotation=90)
    expected = torch.zeros(1, 1, 9, 21)
    expected[..., 1:8, 10] = 1
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


def test_half_the_images_are_mirrored_left_to_right():
    count = 400
    before = images(1).repeat(count, 1, 1, 1)
    after = Augmentation(mirror=True)(before)
    mirrored = [torch.allclose(image, to_float(before[0]).flip(2), atol=1e-5) for image in after]
    kept = [torch.allclose(image, to_float(before[0]), atol=1e-5) for image in after]
    assert all(left != right for left, right in zip(mirrored, kept, strict=True))
    assert abs(sum(mirrored) - count / 2) < 4 * math.sqrt(count) / 2


@pytest.mark.parametrize("option", EVERYTHING)
def test_each_image_has_a_separate_effect(option):
    same = images(1).repeat(12, 1, 1, 1)
    after = Augmentation(**{option: 1.0 if option == "erasing" else EVERYTHING[option]})(same)
    different = {tuple(image.flatten().tolist()) for image in after}
    assert len(different) == 2 if option == "mirror" else len(different) > 9


@pytest.mark.parametrize("option", ["brightness", "contrast", "erasing"])
def test_an_option_does_not_change_the_effects_of_the_others(option):
    moved = Augmentation(**MOVES)(images(40))
    both = Augmentation(**MOVES, **{option: 0.3})(images(40))
    same = (moved == both).flatten(1).all(1)
    assert not same.all()
    if option == "erasing":
        assert same.sum() > 20
    else:
        black = moved == 0
        torch.testing.assert_close((moved - both).abs().flatten(1).max(1).values < 0.6, torch.ones(40) > 0)
        assert option == "contrast" or (both[black] == 0).all()


def test_values_stay_within_0_and_1_and_use_the_range():
    white = torch.full((64, 1, 12, 12), 255, dtype=torch.uint8)
    after = Augmentation(**EVERYTHING)(white)
    assert after.dtype == torch.float32
    assert after.shape == white.shape
    assert after.min() == 0
    assert 1 - 1e-5 < after.max() < 1 + 1e-5


def test_channels_move_together():
    after = Augmentation(**EVERYTHING)(images().repeat(1, 3, 1, 1))
    assert torch.equal(after[:, 0], after[:, 1])
    assert torch.equal(after[:, 0], after[:, 2])


@pytest.mark.parametrize(("bright", "contrast"), [(1, 0), (-1, 0), (0, 1), (0, -1), (0.5, -0.5)])
def test_light_agrees_with_torchvision(bright, contrast):
    grey = images(6, side=10).float() / 255 * 0.3 + 0.3  # so that no value is clipped
    expected = torch.stack(
        [tvf.adjust_contrast(tvf.adjust_brightness(image, 1 + 0.4 * bright), 1 + 0.4 * contrast) for image in grey]
    )
    draws_2B = torch.tensor([[bright], [contrast]]).expand(2, 6)
    torch.testing.assert_close(RandomLight(0.4, 0.4)(grey.clone(), draws_2B), expected, atol=1e-5, rtol=0)


def test_erasing_puts_a_rectangle_of_the_mean_color_into_its_share_of_images():
    count, side = 600, 30
    before = to_float(images(count, 3, side))
    draws_5B = torch.rand(5, count, generator=torch.Generator().manual_seed(0)) * 2 - 1
    after = RandomErasing(0.25, 0.3)(before.clone(), draws_5B)
    changed = (before != after).any(1)
    erased = changed.flatten(1).any(1)
    assert abs(int(erased.sum()) - count / 4) < 5 * math.sqrt(count * 3 / 16)
    for image, old, hole in zip(after[erased], before[erased], changed[erased], strict=True):
        rows, columns = hole.any(1), hole.any(0)
        assert hole.sum() == rows.sum() * columns.sum(), "one rectangle"
        assert rows.nonzero().diff(dim=0).le(1).all()
        assert columns.nonzero().diff(dim=0).le(1).all()
        assert 0.01 < hole.float().mean() < 0.36, "the stated share, but for whole pixels"
        torch.testing.assert_close(image[:, hole], old.mean((1, 2))[:, None].expand(3, int(hole.sum())))


def test_parts_of_a_batch_are_augmented_like_the_whole_batch():
    """Several processes change their parts of a batch exactly as one process changes the whole batch."""
    whole, parts = Augmentation(**EVERYTHING), [Augmentation(**EVERYTHING) for _ in range(3)]
    for seed in range(2):
        batch = images(12, seed=seed)
        expected = whole(batch).split(4)
        for rank, (augment, part) in enumerate(zip(parts, batch.split(4), strict=True)):
            torch.testing.assert_close(augment(part, rank, 3), expected[rank], atol=1e-6, rtol=0)


def test_input_images_are_not_changed():
    before = images()
    Augmentation(**EVERYTHING)(before)
    assert torch.equal(before, images())


def test_the_seed_decides_and_the_global_random_numbers_do_not():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Augmentation(**EVERYTHING)(images())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(Augmentation(**EVERYTHING, seed=0)(images()), first)
    assert not torch.equal(Augmentation(**EVERYTHING, seed=1)(images()), first)


@pytest.mark.parametrize("used", [0, 1, 3, 4, 6])
@pytest.mark.parametrize(("options", "channels"), [(EVERYTHING, 1), (EVERYTHING | COLOR_AND_CROP, 3)])
def test_a_stored_state_continues_with_the_same_effects(options, channels, used, monkeypatch):
    """Four batches are drawn at once; the state is stored before the first, between them, after the last, and later."""
    monkeypatch.setattr("siamese_lab.data.augment.pipeline.AT_ONCE", 16)
    expected, stored, batch = Augmentation(**options), Augmentation(**options), images(4, channels)
    for _ in range(used):
        assert torch.equal(stored(batch), expected(batch))
    state = stored.state_dict()
    stored(batch)  # later draws must not change the stored state
    resumed = Augmentation(**options, seed=9 if used else 0)
    resumed(batch)
    resumed.load_state_dict(state)
    following = [expected(batch) for _ in range(6)]
    assert not torch.equal(following[0], following[1])
    assert all(torch.equal(resumed(batch), each) for each in following)


def test_the_number_of_batches_drawn_at_once_changes_no_effect(monkeypatch):
    at_once = Augmentation(**EVERYTHING)
    seen = [at_once(images()) for _ in range(5)]
    monkeypatch.setattr("siamese_lab.data.augment.pipeline.AT_ONCE", 1)
    each = Augmentation(**EVERYTHING)
    for batch in seen:
        torch.testing.assert_close(each(images()), batch, atol=1e-5, rtol=0)


def test_large_images_are_changed_equally_in_parts_and_at_once(monkeypatch):
    at_once = Augmentation(**EVERYTHING)(images(12, 3))
    for tile in (1, 64 * 5, 64 * 6):
        monkeypatch.setattr("siamese_lab.data.augment.pipeline.TILE", tile)
        torch.testing.assert_close(Augmentation(**EVERYTHING)(images(12, 3)), at_once, atol=1e-6, rtol=0)


def test_batches_of_another_size_have_other_effects():
    augment = Augmentation(**MOVES)
    few, more, again = (augment(images(1).repeat(count, 1, 1, 1)) for count in (3, 5, 3))
    assert len({tuple(image.flatten().tolist()) for image in torch.cat([few, more, again])}) == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotation": -1.0}, r"must be 0 or more, scale below 1 and shear below 90°, .*rotation=-1\.0"),
        ({"scale": -0.1}, r"must be 0 or more, .*scale=-0\.1"),
        ({"scale": 1.0}, r"scale below 1 .*scale=1\.0"),
        ({"shear": 90.0}, r"shear below 90°, .*shear=90\.0"),
        ({"translation": -0.1}, r"must be 0 or more, .*translation=-0\.1"),
        ({"interpolation": "cubic"}, r"one of bilinear, nearest, but is 'cubic'"),
        ({"brightness": 1.5}, r"brightness and contrast must be in 0…1, .*brightness=1\.5"),
        ({"contrast": -0.1}, r"contrast=-0\.1"),
        ({"erasing": 1.1}, r"erasing must be .* 0…1.*erasing=1\.1"),
        ({"erasing_area": 0.01}, r"erasing_area .* 0\.02…1, .*erasing_area=0\.01"),
    ],
)
def test_bad_ranges_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_need_not_wait_for_the_host(monkeypatch):
    monkeypatch.setattr("siamese_lab.data.augment.pipeline.AT_ONCE", 32)  # so that it draws again
    augment = Augmentation(**EVERYTHING)
    batch = images(32, 3, 16).cuda()
    augment(batch)  # creates the constants that it keeps
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
