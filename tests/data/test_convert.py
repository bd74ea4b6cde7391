"""Any image is converted like the data set's own files, and those files give exactly the same pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from siamese_lab import data
from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.io.image_files import ImageFiles


def pixels_of(image: Image.Image) -> torch.Tensor:
    """Return the pixels as (C, H, W)."""
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def stored(image: Image.Image, kind: str, **options: object) -> Image.Image:
    """Return the image after writing it to a file and reading it again."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Image.open(io.BytesIO(stream.getvalue()))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_of_mnist_and_of_fashion_mnist_are_unchanged(name: str, real_root: Path, real_cache: Path) -> None:
    images = data.build(name, root=real_root, cache=real_cache, protocol="closed")
    for table in images.splits:
        for image_1HW in table.images_NCHW[::97]:
            converted = images.converted(stored(Image.fromarray(image_1HW[0].numpy()), "PNG"))
            assert torch.equal(pixels_of(converted.image), image_1HW)
            assert converted.changes == ()


def test_digits_equal_their_converted_pixels() -> None:
    images = data.build("digits")
    bunch = load_digits()
    test = images.splits.test
    raw_NHW = bunch.images[np.isin(bunch.target, [int(name) for name in test.class_names])]
    assert len(raw_NHW) == len(test)
    made = [
        pixels_of(images.converted(Image.fromarray((raw_HW * 255 / 16).round().astype(np.uint8))).image)
        for raw_HW in raw_NHW
    ]
    assert sorted(each.numpy().tobytes() for each in made) == sorted(
        each.numpy().tobytes() for each in test.images_NCHW
    )


def test_a_photograph_of_lfw_becomes_the_row_of_its_table(real_root: Path, real_cache: Path) -> None:
    images = data.build("lfw", root=real_root, cache=real_cache)
    _, files = images._files()
    for row, image in images_of(files, [0, 7, 4000, 9000, 13232]):
        converted, row_CHW = images.converted(image), images.everyone.images_NCHW[row]
        assert torch.equal(pixels_of(converted.image), row_CHW)
        assert converted.changes == ("250×250 to 64×64 pixels",)
        through_alpha = images.converted(stored(image.convert("RGBA"), "PNG"))
        assert torch.equal(pixels_of(through_alpha.image), row_CHW)
        assert through_alpha.changes == ("RGBA to RGB", "250×250 to 64×64 pixels")
        wide = Image.new("RGB", (600, 500))
        wide.paste(image.resize((500, 500), Image.Resampling.BICUBIC), (50, 0))
        difference = pixels_of(images.converted(wide).image).float() - row_CHW.float()
        assert difference.abs().mean() < 2  # of 255: the face is the same at twice the size


def images_of(files: ImageFiles, rows: list[int]) -> list[tuple[int, Image.Image]]:
    """Return the chosen files of a set, with their rows."""
    names = {files.names[row] for row in rows}
    contents = ImageFiles(files.path, files.suffix, frozenset(files.names) - names).contents()
    return [(row, Image.open(io.BytesIO(content))) for row, content in zip(rows, contents, strict=True)]


def test_a_drawing_of_omniglot_becomes_the_row_of_its_table(omniglot_root: Path, real_cache: Path) -> None:
    images = data.build("omniglot", root=omniglot_root, cache=real_cache)
    for row, image in images_of(images._files("images_evaluation"), list(range(0, 13180, 1311))):
        converted = images.converted(image)
        assert torch.equal(pixels_of(converted.image), images.splits.test.images_NCHW[row])
        assert converted.changes == ("1 to L", "105×105 to 28×28 pixels", "inverted")


def test_a_file_of_a_folder_becomes_the_row_of_its_table(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in range(6):
        (tmp_path / f"set/{label}").mkdir(parents=True)
        for number in range(2):
            pixels = generator.integers(0, 256, (90 + label, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"set/{label}/{number}.jpg")
    images = data.build("image_folder", root=tmp_path / "set", cache=tmp_path / "cache", image_size=16)
    for table in images.splits:
        for label, name in enumerate(table.class_names):
            rows = table.images_NCHW[table.labels_N == label]
            for number, row in enumerate(rows):
                converted = images.converted(Image.open(tmp_path / f"set/{name}/{number}.jpg"))
                assert torch.equal(pixels_of(converted.image), row)
                assert converted.changes == (f"70×{90 + int(name)} to 16×16 pixels",)


def drawing() -> np.ndarray:
    """Return a light stroke on dark paper."""
    strokes = np.zeros((28, 28), dtype=np.uint8)
    strokes[4:24, 12:15] = 230
    strokes[4:7, 8:20] = 180
    return strokes


def test_drawings_on_light_paper_are_inverted() -> None:
    light = convert_drawing(Image.fromarray(drawing()), 28)
    dark = convert_drawing(Image.fromarray(255 - drawing()), 28)
    assert torch.equal(pixels_of(light.image), pixels_of(dark.image))
    assert (light.changes, dark.changes) == ((), ("inverted",))


def test_a_drawing_in_any_mode_is_the_same_drawing() -> None:
    strokes = drawing()
    image = Image.fromarray(strokes)
    ink_on_nothing = Image.merge("LA", (Image.new("L", (28, 28), 0), image)).convert("RGBA")
    light_on_nothing = Image.merge("LA", (Image.new("L", (28, 28), 255), image)).convert("RGBA")
    modes = {
        "RGB": image.convert("RGB"),
        "P": image.convert("P"),
        "CMYK": image.convert("CMYK"),
        "I;16": Image.fromarray(strokes.astype(np.uint16) << 8),
        "RGBA, ink on nothing": ink_on_nothing,
        "RGBA, light on nothing": light_on_nothing,
    }
    for mode, each in modes.items():
        converted = convert_drawing(each, 28)
        difference = (pixels_of(converted.image).int() - pixels_of(image).int()).abs().max()
        assert int(difference) <= 1, mode
        assert converted.changes[0].endswith(" to L"), mode


def test_a_drawing_that_is_not_square_is_padded_with_its_paper() -> None:
    tall = 255 - drawing()[:, 6:22]
    converted = convert_drawing(Image.fromarray(tall), 28)
    assert torch.equal(pixels_of(converted.image), pixels_of(Image.fromarray(drawing())))
    assert converted.changes == ("16×28 to 28×28 pixels", "inverted")


@pytest.mark.parametrize("color", [True, False])
def test_changes_of_rotation_and_mode_are_reported(color: bool) -> None:
    exif = Image.Exif()
    exif[274] = 6
    photograph = stored(Image.new("CMYK", (60, 40)), "JPEG", exif=exif)
    converted = PhotoConverter(16, color).converted(photograph)
    mode = "RGB" if color else "L"
    assert converted.changes == ("turned upright", f"CMYK to {mode}", "60×40 to 16×16 pixels")
    assert (converted.image.mode, converted.image.size) == (mode, (16, 16))
