"""Training, validation and test glyphs share no letter, test shares no script, and drawing is exact and repeatable."""

import hashlib
import itertools
import math
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from conftest import compose, quick_run
from matplotlib import font_manager
from PIL import Image, ImageFont

from siamese_lab import data
from siamese_lab.data.sets import glyphs
from siamese_lab.data.sets.glyphs import LETTERS, TYPEFACES, Glyphs, distorted, random_distortions
from siamese_lab.data.splits import hold_out_classes
from siamese_lab.errors import ResourceError, UserError

UNDISTORTED = np.zeros(5)
TURN, SHEAR, SCALE, RIGHT, DOWN = range(5)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def drawn(cache: Path) -> Glyphs:
    return Glyphs(cache=cache)


def pixels(images: Glyphs) -> bytes:
    return b"".join(table.images_NCHW.numpy().tobytes() for table in images.splits)


class TestLetters:
    """Check the list of letters against its rule, drawn by the FreeType of matplotlib and of Pillow."""

    @pytest.fixture(scope="class")
    def candidates(self) -> list[str]:
        """Return letters that all typefaces hold and that Unicode does not decompose, for each of the five scripts."""
        held = set.intersection(*(set(font_manager.get_font(path).get_charmap()) for path in glyphs.font_files()))
        letters = [chr(code) for code in sorted(held) if unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo")]
        plain = [letter for letter in letters if not unicodedata.decomposition(letter)]
        return [each for script in LETTERS for each in plain if unicodedata.name(each).startswith(script.upper() + " ")]

    @pytest.fixture(scope="class")
    def similarity(self, candidates: list[str]) -> np.ndarray:
        """Return the correlation of every two candidates: in Sans and in Serif, cropped and resized to a square."""
        centered = []
        for name in ("DejaVuSans.ttf", "DejaVuSerif.ttf"):
            path = glyphs.font_files()[TYPEFACES.index(name)]
            font = ImageFont.truetype(path, 128, layout_engine=ImageFont.Layout.BASIC)
            squares = [glyphs.shape_of(each, font).resize((28, 28), Image.Resampling.BILINEAR) for each in candidates]
            flat = np.stack([np.asarray(square, dtype=float).ravel() for square in squares])
            centered.append(flat - flat.mean(1, keepdims=True))
        both = np.concatenate(centered, 1)
        both /= np.linalg.norm(both, axis=1, keepdims=True)
        return both @ both.T

    def test_every_letter_is_a_candidate_in_the_order_of_unicode(self, candidates: list[str]) -> None:
        assert [letter for letter in candidates if letter in "".join(LETTERS.values())] == list(
            "".join(LETTERS.values())
        )

    def test_no_two_letters_look_alike(self, candidates: list[str], similarity: np.ndarray) -> None:
        kept = [candidates.index(letter) for letter in "".join(LETTERS.values())]
        among = similarity[np.ix_(kept, kept)] - np.eye(len(kept))
        # Another version of the renderer may draw a borderline letter slightly differently.
        assert among.max() <= 0.86

    def test_every_excluded_letter_looks_like_an_earlier_letter(
        self, candidates: list[str], similarity: np.ndarray
    ) -> None:
        kept = {candidates.index(letter) for letter in "".join(LETTERS.values())}
        for number in set(range(len(candidates))) - kept:
            earlier = [each for each in kept if each < number]
            assert similarity[number, earlier].max() > 0.84, candidates[number]

    def test_similar_letters_of_several_scripts_are_listed_once(self) -> None:
        letters = "".join(LETTERS.values())
        assert len(letters) == len(set(letters)) == 418
        for alike in ("OОΟo", "HНΗ", "AАΑ", "sѕS", "Օ"):
            assert sum(letter in letters for letter in alike) == (alike != "Օ")


@pytest.mark.slow
def test_no_letter_is_in_two_parts_and_no_script_of_the_test_is_trained_on(drawn: Glyphs) -> None:
    names = [table.class_names for table in drawn.splits]
    assert [len(each) for each in names] == [254, 63, 101]
    assert sorted(itertools.chain(*names)) == sorted(
        f"{script}/{each}" for script in LETTERS for each in LETTERS[script]
    )
    scripts = [{name.split("/")[0] for name in each} for each in names]
    assert scripts[0] == scripts[1] == {"Latin", "Greek", "Cyrillic"}
    assert scripts[2] == {"Armenian", "Georgian"}


def test_every_letter_is_drawn_once_in_each_typeface(drawn: Glyphs) -> None:
    for table in drawn.splits:
        assert table.labels_N.bincount().tolist() == [12] * len(table.class_names)
        assert table.images_NCHW.shape == (12 * len(table.class_names), 1, 28, 28)
        assert (table.images_NCHW.flatten(1).max(1).values > 100).all(), "every image shows a letter"
    assert len({bytes(each) for table in drawn.splits for each in table.images_NCHW.flatten(1).numpy()}) == 418 * 12


def test_other_scripts_can_be_trained_on_and_the_rest_is_tested(cache: Path, drawn: Glyphs) -> None:
    other = Glyphs(cache=cache, scripts=["Georgian", "Greek"], validation_fraction=0.5).splits
    assert {name.split("/")[0] for name in other.train.class_names} == {"Greek", "Georgian"}
    assert {name.split("/")[0] for name in other.test.class_names} == {"Latin", "Cyrillic", "Armenian"}
    assert (len(other.train.class_names), len(other.validation.class_names)) == (39, 39)
    letter = "Armenian/Ա"
    assert torch.equal(images_of(other.test, letter), images_of(drawn.splits.test, letter))


def images_of(table: data.ImageTable, name: str) -> torch.Tensor:
    return table.images_NCHW[table.labels_N == table.class_names.index(name)]


@pytest.mark.parametrize(("classes", "fraction"), [(317, 0.2), (317, 1 / 3), (10, 0.5), (5, 0.9), (100, 0.01)])
def test_letters_are_held_out_evenly(classes: int, fraction: float) -> None:
    kept, held = hold_out_classes(torch.ones(classes), fraction)
    assert sorted(kept + held) == list(range(classes)) and held == sorted(held)
    assert len(held) == math.floor(classes * fraction + 1e-9)
    distances = {after - before for before, after in itertools.pairwise([-1, *held])}
    assert max(distances) <= math.ceil(1 / fraction) and min(distances) >= math.floor(1 / fraction)


class TestDrawing:
    @pytest.mark.slow
    def test_another_process_draws_the_same_images_bit_by_bit(self, drawn: Glyphs, tmp_path: Path) -> None:
        code = (
            "from siamese_lab.data.sets.glyphs import Glyphs\n"
            f"print(Glyphs(cache={str(tmp_path)!r}, seed=7).provenance()['images'])"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == drawn.provenance()["images"]

    @pytest.mark.slow
    def test_another_drawing_seed_draws_other_images_and_the_seed_of_the_run_does_not(
        self, cache: Path, drawn: Glyphs
    ) -> None:
        assert pixels(Glyphs(cache=cache, drawing_seed=1)) != pixels(drawn)
        assert pixels(Glyphs(cache=cache, seed=1)) == pixels(drawn)

    @pytest.mark.slow
    def test_more_copies_add_images_and_keep_the_others(self, cache: Path, drawn: Glyphs) -> None:
        more = Glyphs(cache=cache, copies=3).splits
        for one, three in zip(drawn.splits, more, strict=True):
            assert three.class_names == one.class_names
            per_letter_CNHW = three.images_NCHW.reshape(len(one.class_names), 36, 28, 28)
            assert torch.equal(per_letter_CNHW[:, :12].flatten(0, 1)[:, None], one.images_NCHW)
            assert len({bytes(each) for each in three.images_NCHW.flatten(1).numpy()}) == len(three)

    @pytest.mark.slow
    def test_without_distortion_all_copies_are_equal_and_centered(self, tmp_path: Path) -> None:
        still = Glyphs(cache=tmp_path, copies=2, distortion=0).splits.train
        first_CHW, second_CHW = still.images_NCHW.reshape(-1, 2, 12, 28, 28).unbind(1)
        assert torch.equal(first_CHW, second_CHW)
        row, column = middle(images_of(still, "Latin/H")[0, 0].numpy())
        assert (row, column) == pytest.approx((13.5, 13.5), abs=0.3)

    @pytest.mark.slow
    def test_drawing_takes_seconds(self, tmp_path: Path) -> None:
        begun = time.process_time()
        assert len(Glyphs(cache=tmp_path, drawing_seed=2)._draw()) == 5016
        assert time.process_time() - begun < 8, "a quiet machine takes 1 s of processor time"


def ink(image_HW: np.ndarray) -> float:
    return float(image_HW.sum(dtype=float))


def middle(image_HW: np.ndarray) -> tuple[float, float]:
    """Return the row and column of the center of the ink."""
    rows, columns = np.indices(image_HW.shape)
    return float((rows * image_HW).sum() / ink(image_HW)), float((columns * image_HW).sum() / ink(image_HW))


class TestDistorted:
    """Each parameter of a distortion moves a white rectangle of 60 × 40 pixels by the documented amount."""

    shape = Image.new("L", (60, 40), 255)

    def drawn(self, **distortion: float) -> np.ndarray:
        numbers = UNDISTORTED.copy()
        for name, value in distortion.items():
            numbers[{"turn": TURN, "shear": SHEAR, "scale": SCALE, "right": RIGHT, "down": DOWN}[name]] = value
        return distorted(self.shape, numbers, 50)

    def test_the_longer_side_is_a_fraction_of_the_image(self) -> None:
        image_HW = self.drawn()
        rows, columns = image_HW.max(1) > 128, image_HW.max(0) > 128
        assert (rows.sum(), columns.sum()) == (20, 30)
        assert middle(image_HW) == pytest.approx((24.5, 24.5), abs=0.05)

    def test_a_shift_is_a_fraction_of_the_image(self) -> None:
        assert middle(self.drawn(right=0.1, down=-0.06)) == pytest.approx((24.5 - 3, 24.5 + 5), abs=0.05)

    def test_scale_is_a_change_of_both_sides(self) -> None:
        assert ink(self.drawn(scale=0.2)) / ink(self.drawn()) == pytest.approx(1.44, rel=0.02)
        assert ink(self.drawn(scale=-0.2)) / ink(self.drawn()) == pytest.approx(0.64, rel=0.02)

    def test_a_turn_keeps_the_ink_and_a_quarter_turn_swaps_the_sides(self) -> None:
        assert ink(self.drawn(turn=0.4)) == pytest.approx(ink(self.drawn()), rel=0.02)
        np.testing.assert_allclose(self.drawn(turn=math.pi / 2), self.drawn().T.astype(float), atol=2)
        upper_HW = self.drawn(turn=0.4)[:24]
        assert middle(upper_HW)[1] < 24.5, "a turn is clockwise: the upper edge's middle ink lies to the left"

    def test_shear_moves_rows_along_and_keeps_the_ink(self) -> None:
        sheared_HW = self.drawn(shear=0.3)
        assert ink(sheared_HW) == pytest.approx(ink(self.drawn()), rel=0.02)
        columns = np.arange(50)
        row_centers = {row: (sheared_HW[row] * columns).sum() / sheared_HW[row].sum(dtype=float) for row in (18, 30)}
        assert (row_centers[30] - row_centers[18]) / 12 == pytest.approx(0.3, abs=0.02)

    def test_the_limits_are_the_documented_ones(self) -> None:
        numbers_5 = np.abs(np.concatenate([random_distortions(0, each, 100, 12).reshape(-1, 5) for each in "AB"]))
        limits_5 = [math.radians(25), 0.3, 0.25, 0.1, 0.1]
        assert (numbers_5.max(0) <= limits_5).all()
        np.testing.assert_allclose(numbers_5.mean(0), np.array(limits_5) / 2, rtol=0.05)
        assert not np.array_equal(random_distortions(0, "A", 1, 12), random_distortions(0, "B", 1, 12))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"copies": 0}, r"data\.copies.*at least 1.*is 0"),
        ({"distortion": -0.1}, r"data\.distortion.*between 0 and 3.*-0\.1"),
        ({"distortion": math.nan}, r"data\.distortion.*nan"),
        ({"image_size": 0}, r"data\.image_size.*at least 1.*is 0"),
        ({"scripts": ["Latn"]}, r"'Latn'.*Did you mean 'Latin'.*Armenian, Georgian"),
        ({"scripts": []}, r"data\.scripts.*between 1 and 4.*has 0"),
        ({"scripts": list(LETTERS)}, r"data\.scripts.*between 1 and 4.*has 5"),
        ({"drawing_seed": -1}, r"data\.drawing_seed.*at least 0.*-1"),
    ],
)
def test_wrong_options_are_explained(options: dict, match: str) -> None:
    with pytest.raises(UserError, match=match):
        Glyphs(**options)


@pytest.mark.parametrize(
    ("fraction", "match"),
    [
        (0.0, r"validation_fraction.*above 0 and below 1.*0\.0"),
        (1.0, r"validation_fraction.*above 0 and below 1.*1\.0"),
        (0.001, r"validation_fraction=0\.001 holds out no.*317"),
    ],
)
def test_a_fraction_that_leaves_a_part_without_letters_is_explained(fraction: float, match: str, cache: Path) -> None:
    with pytest.raises(UserError, match=match):
        _ = Glyphs(cache=cache, validation_fraction=fraction).splits


class TestCache:
    def test_images_are_drawn_once(self, cache: Path, drawn: Glyphs, monkeypatch: pytest.MonkeyPatch) -> None:
        before = pixels(drawn)
        monkeypatch.setattr(glyphs, "shape_of", lambda *_: pytest.fail("drawn again"))
        assert pixels(Glyphs(cache=cache)) == before

    def test_another_renderer_or_font_draws_the_images_again(
        self, drawn: Glyphs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = {drawn._key}
        for name, value in (("pillow_version", "0.0"), ("fonts_hash", lambda: "0" * 64)):
            monkeypatch.setattr(glyphs, name, value)
            keys.add(drawn._key)
        monkeypatch.setattr(glyphs.features, "version", lambda _: "0.0")
        assert len(keys | {drawn._key}) == 4

    @pytest.mark.slow
    def test_a_damaged_table_is_found(self, tmp_path: Path) -> None:
        images = Glyphs(cache=tmp_path)
        assert images.verify() == []
        _ = images.splits
        assert images.verify() == []
        [table] = tmp_path.glob("glyphs-*/images.npy")
        content = bytearray(table.read_bytes())
        content[-1] ^= 1
        table.write_bytes(content)
        assert "images.npy" in Glyphs(cache=tmp_path).verify()[0]


def test_the_record_names_fonts_renderer_and_checksum(drawn: Glyphs, cache: Path) -> None:
    record = drawn.provenance()
    whole = drawn._table.images_NCHW.numpy().tobytes()
    assert record["images"] == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert matplotlib.__version__ in record["from"] and glyphs.pillow_version in record["renderer"]
    assert drawn.compared == ("images",)
    assert Glyphs(cache=cache, distortion=0.5).provenance()["images"] != record["images"]


@pytest.mark.slow
def test_a_run_stores_the_checksum(drawn: Glyphs, cache: Path, tmp_path: Path) -> None:
    results = quick_run(tmp_path / "run", "data=glyphs", f"paths.cache={cache}")
    assert results.images == drawn.provenance()
    assert results.data_set["compared"] == ["images"]


def test_the_configuration_has_the_defaults_of_the_class(cache: Path) -> None:
    images = data.build(**compose("data=glyphs", f"paths.cache={cache}").data, seed=0)
    assert isinstance(images, Glyphs)
    assert images._key == Glyphs()._key and images.scripts == Glyphs().scripts
    assert images.validation_fraction == Glyphs().validation_fraction


def test_a_network_is_refused_on_scripts_that_it_was_trained_on() -> None:
    images = Glyphs(scripts=["Armenian"])
    with pytest.raises(UserError, match=r"Latin.*data\.scripts=\[Armenian\].*data\.scripts=\[Latin,Armenian\]"):
        images.check_unseen({"name": "glyphs", "scripts": ["Latin", "Armenian"]})
    images.check_unseen({"name": "glyphs", "scripts": ["Armenian"]})
    images.check_unseen({"name": "omniglot"})


def test_a_missing_font_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(ResourceError, match=r"no DejaVuSans\.ttf.*matplotlib"):
        _ = Glyphs(cache=tmp_path).splits


def test_pillow_without_freetype_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs.features, "version", lambda _: None)
    with pytest.raises(ResourceError, match="Pillow with FreeType"):
        _ = Glyphs(cache=tmp_path).splits
