"""Images are read within fixed limits, values of 16 and 32 bits by a documented rule, and messages name the file."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.io import decode as decoding
from siamese_lab.data.io import image_files
from siamese_lab.data.io.decode import decode, find_unreadable, pixels
from siamese_lab.data.io.image_files import list_images, read_image_file
from siamese_lab.data.io.open_image import MAX_PIXELS
from siamese_lab.errors import UserError
from siamese_lab.inference.inputs import read_image

Converter = Callable[[Image.Image], Image.Image]


def stored(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def tiff(values: np.ndarray) -> bytes:
    return stored(Image.fromarray(values), "TIFF")


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that declares a size, with the pixels of a black image if they are few enough to store."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def read(content: bytes, size: int = 4) -> np.ndarray:
    return pixels(Path("set"), "a/1.tif", content, PhotoConverter(size, False))[:, :, 0]


# --- values of 16 and 32 bits

RAMP = np.repeat(np.array([[0, 300, 40_000, 65_535]]), 4, 0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff(RAMP.astype(np.uint16)), [0, 1, 156, 255]),
        (tiff(RAMP.astype(np.int32)), [0, 1, 156, 255]),
        (stored(Image.fromarray(RAMP.astype(np.uint16)), "PNG"), [0, 1, 156, 255]),
        (b"P5 4 4 65535\n" + RAMP.astype(">u2").tobytes(), [0, 1, 156, 255]),
        (b"P5 4 4 65535\n" + (RAMP // 300).astype(">u2").tobytes(), [0, 0, 0, 0]),
        (tiff((RAMP / 65_535).astype(np.float32)), [0, 1, 156, 255]),
        (tiff((RAMP / 257).astype(np.float32)), [0, 1, 156, 255]),
        (tiff((RAMP / 65_535 * 1.03 - 0.015).astype(np.float32)), [0, 0, 156, 255]),
    ],
)
def test_values_are_scaled_by_the_documented_rule(content: bytes, expected: list[int]) -> None:
    assert read(content)[0].tolist() == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        (
            (RAMP // 257).astype(np.int32),
            r"its 32-bit values are 0…255, but .* 16 bits, 0…65,535: save it with",
        ),
        ((RAMP * 30_000).astype(np.int32), r"its 32-bit values are 0…1,966,050,000, but"),
        ((RAMP - 5).astype(np.int32), r"its 32-bit values are -5…65,530, but"),
        ((RAMP / 100).astype(np.float32), r"its floating-point values are 0…655\.35, but 0…1 or 0…255 is expected"),
        ((RAMP / 65_535 * 2 - 1).astype(np.float32), r"its floating-point values are -1…1, but"),
        ((RAMP / 65_535 * 1.5).astype(np.float32), r"its floating-point values are 0…1\.5, but"),
        (np.full((4, 4), np.nan, np.float32), r"its floating-point values are nan…nan, but"),
        (np.full((4, 4), np.inf, np.float32), r"its floating-point values are 0…inf, but"),
    ],
)
def test_values_of_another_range_are_refused_with_the_name(values: np.ndarray, facts: str) -> None:
    with pytest.raises(UserError, match=r"^set holds a/1\.tif, which cannot be read as an image \(" + facts):
        read(tiff(values))


def test_colors_that_cannot_be_converted_are_refused_with_the_name() -> None:
    with pytest.raises(UserError, match=r"a/1\.tif, .* \(its colors are CIELAB, .* convert it to RGB"):
        read(stored(Image.new("LAB", (4, 4)), "TIFF"))


# --- large images

PHOTO, DRAWING = PhotoConverter(8, True), lambda image: convert_drawing(image, 8).image


@pytest.mark.parametrize("convert", [PHOTO, DRAWING])
@pytest.mark.parametrize("size", [(17_000, 10_000), (10_001, 10_000), (50_000, 50_000), (2, MAX_PIXELS)])
def test_images_of_more_than_100_megapixels_are_refused_by_their_header(
    size: tuple[int, int], convert: Converter, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(UserError, match=r"set holds bomb\.png, .*100 megapixels (that )?are read: make it smaller"):
        pixels(Path("set"), "bomb.png", png_header(*size), convert)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_size_that_was_found_is_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(17_000, 10_000))
    with pytest.raises(
        UserError, match=r"bomb\.png cannot .*: it has 17,000×10,000 pixels, 170 megapixels, but at most"
    ):
        read_image(tmp_path / "bomb.png", PHOTO.converted)


def test_a_thin_drawing_does_not_become_a_huge_square() -> None:
    content = stored(Image.new("1", (65_000, 1)), "PNG")
    with pytest.raises(UserError, match=r"set holds thin\.png, .*65,000×65,000 pixels, 4,225 megapixels"):
        pixels(Path("set"), "thin.png", content, DRAWING)
    assert pixels(Path("set"), "thin.png", content, PHOTO).shape == (8, 8, 3)


def test_formats_that_start_another_program_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(stored(Image.new("RGB", (8, 8)), "EPS"))
    with pytest.raises(UserError, match=r"images in the format EPS are not read, convert it to PNG"):
        read_image(tmp_path / "a.png", PHOTO.converted)


# --- files that cannot be read


def unreadable_files(folder: Path) -> list[str]:
    """Write files of every kind that cannot be read, and return their names."""
    whole = stored(Image.effect_noise((40, 40), 50), "PNG")
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(png_header(20_000, 20_000))
    (folder / "range.tif").write_bytes(tiff((RAMP - 5).astype(np.int32)))
    (folder / "text.jpg").write_text("<html>404</html>")
    (folder / "link.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    return ["cut.png", "empty.png", "huge.png", "link.png", "pipe.png", "range.tif", "text.jpg"]


def test_every_kind_of_unreadable_file_is_found_and_named(tmp_path: Path) -> None:
    names = unreadable_files(tmp_path)
    Image.new("L", (4, 4)).save(tmp_path / "good.png")
    found = find_unreadable(list_images(tmp_path, (".png", ".tif", ".jpg")), PHOTO)
    assert [each.name for each in found] == names
    for each in found:
        assert each.name in each.complaint and str(tmp_path) in each.complaint and each.complaint.endswith(".")


def test_a_file_without_permission_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (found,) = find_unreadable(list_images(tmp_path), PHOTO)
    assert f"a.png cannot be read (Permission denied). Allow it: chmod u+r '{tmp_path}/a.png'." in found.complaint


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(image_files, "MAX_BYTES", 2_000_000)
    with pytest.raises(UserError, match=r"a\.png has 3 MB, but an image has at most 2 MB"):
        read_image_file(tmp_path / "a.png")


def test_a_bug_of_a_conversion_is_not_blamed_on_the_image(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ZeroDivisionError):
        decode(list_images(tmp_path), lambda image: image.resize((1 // 0, 1)))


# --- memory


@pytest.mark.parametrize("packed", [False, True])
def test_a_few_files_at_a_time_are_in_memory(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tarfile

    number = 60
    folder = tmp_path / "set"
    folder.mkdir()
    for index in reversed(range(number)):
        Image.new("L", (100, 100), index).save(folder / f"{index:02}.bmp")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for path in sorted(folder.iterdir(), key=lambda path: path.stem[::-1]):  # not the order of the names
            archive.add(path, path.name)
    monkeypatch.setattr(decoding, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    done: list[int] = []
    ahead: list[int] = []

    class Counted(image_files.ImageFiles):
        def stored(self):
            for count, file in enumerate(super().stored(), start=1):
                ahead.append(count - len(done))
                yield file

    def convert(image: Image.Image) -> Image.Image:
        done.append(1)
        return image

    table = decode(Counted(tmp_path / "set.tar" if packed else folder, ".bmp"), convert)
    assert table[:, 0, 0, 0].tolist() == list(range(number))
    assert max(ahead) <= 4 * 2 + 2, "chunks of two files, for two threads"
