"""Glyphs: letters of five scripts in twelve typefaces, drawn from the fonts that matplotlib ships, without a download.

Each letter is a class. The letters of some scripts are for training; a part of these letters is held out for
validation. The letters of the other scripts, which training never sees, are for testing. Each image is a letter in one
typeface under a random affine distortion.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features
from PIL import __version__ as pillow_version

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, Splits, register
from siamese_lab.data.splits import hold_out_classes
from siamese_lab.data.tables.image_table import FORMAT, ImageTable, cached, check_stored, default_cache
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.registry import did_you_mean

LETTERS = {
    "Latin": (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghijkmnpqrtuyÆÐØÞßæðøđĦħĸŁłŊŋŒœƀƁƂƄƆƇƈƊƋƍƎƏƐƑƒƔƕƖ"
        "ƗƘƚƛƜƝƞƢƣƤƥƦƧƩƪƫƭƱƲƳƴƶƷƸƺƻƼƽƾƿǀǁǂǃǝǶȜȡȤȥȴȵȶȸȹȺȻȼȽȾȿɀɁɃɄɌɍɐɑɒɕɖɗɘɚɜɝɞɟɠɤɥɧɨɪɫɬɭɮɰ"
        "ɱɲɳɷɸɹɻɽɾɿʁʂʃʄʅʆʇʈʉʍʎʐʑʓʕʖʗʚʛʝʞʠʡʣʤʥʦʧʨʩʪʫʬʭʮʯᴂᴈᴉᴔᴖᴗᴝᴞᴟᵷᶅẟⱤⱮⱵⱷⱹⱺⱾⱿꜦꞋꞌꞍꞐꞑꞪ"
    ),
    "Greek": "ΔΞΠΦΨΩαβγζθμνξπρςστυφχωϗϘϙϚϛϞϟϠϡϺϻϼ",
    "Cyrillic": "ЂЉЊЋЏГДЖИКЛЦЩЪЫЮЯбцьэюђєћџѢѣҐґҒғҔҖҘҙҚҢҤҪҫҬүҲҺӃӈӋӶ",
    "Armenian": "ԱԲԳԴԵԶԷԸԹԺԻԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՎՏՐՒՔՖբդեզէըթիխծկձճմյնշչջռվտփքֆ",
    "Georgian": "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺ",
}
"""Letters of each script, in the order of Unicode.

The list holds the letters that all typefaces contain, that have no accent (Unicode does not decompose them), and that
do not look like an earlier letter: cropped to the ink and resized to a square, in DejaVu Sans and Serif, the pixels of
two letters have a correlation of at most 0.85. The list is fixed, so that every version of the renderer draws the same
classes.
"""
TRAINING_SCRIPTS = ("Latin", "Greek", "Cyrillic")
TYPEFACES = tuple(
    f"DejaVu{family}.ttf"
    for family in (
        *("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique"),
        *("SansMono", "SansMono-Bold", "SansMono-Oblique", "SansMono-BoldOblique"),
        *("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic"),
    )
)
DRAWING = 1
"""Part of the cache key. Increase it when the letters or the code that draws them change."""
FONT_SIZE = 128
"""Size of the undistorted drawing, in pixels per em."""
LETTER_SIZE = 0.6
"""Longer side of an undistorted letter, as a share of the image."""
FINER = 4
"""A letter is distorted at this multiple of the image size, then averaged, so that its edges are smooth."""
TURN, SHEAR, SCALE, SHIFT = math.radians(25), 0.3, 0.25, 0.1
"""Limits of a distortion of strength 1: angle, shear, change of scale, and shift as a share of the image."""
STRONGEST = 3
"""Largest strength of a distortion. At 4, a letter could be scaled to nothing."""


@register("glyphs")
class Glyphs(DataModule):
    """Letters in typefaces: class-disjoint and script-disjoint, drawn in seconds, and as large as wanted.

    Args:
        cache: folder for the drawn images; None is the user's cache folder.
        image_size: height and width in pixels.
        copies: number of images of each letter in each of the 12 typefaces. Each copy has its own distortion.
        distortion: strength of the distortion. 1 turns by up to 25°, shears by up to 0.3, scales by up to 25% and
            shifts by up to 10% of the image; 0 draws all copies alike.
        scripts: scripts to train on. The letters of all other scripts are tested.
        validation_fraction: fraction of the letters of `scripts` that is held out for validation.
        drawing_seed: seed of the distortions. It is separate from the run's seed, so that runs see the same images.
        **common: see `DataModule`.
    """

    title = "Glyphs"
    order = 12
    compared = ("images",)
    channels = 1

    def __init__(
        self,
        cache: str | Path | None = None,
        image_size: int = 28,
        copies: int = 1,
        distortion: float = 1.5,
        scripts: Sequence[str] = TRAINING_SCRIPTS,
        validation_fraction: float = 0.2,
        drawing_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        _check_options(image_size, copies, distortion, scripts, drawing_seed)
        self.cache = Path(cache) if cache is not None else default_cache()
        self.image_size = image_size
        self.copies = copies
        self.distortion = distortion
        self.scripts = tuple(scripts)
        self.validation_fraction = validation_fraction
        self.drawing_seed = drawing_seed

    def load(self) -> Splits:
        """Draw all images, or load them from the cache, and split them by script and letter."""
        scripts = [script_of(name) for name in self._table.class_names]
        trained = [label for label, script in enumerate(scripts) if script in self.scripts]
        tested = [label for label, script in enumerate(scripts) if script not in self.scripts]
        kept, held = hold_out_classes(torch.ones(len(trained)), self.validation_fraction)  # all of one size
        parts = [trained[index] for index in kept], [trained[index] for index in held], tested
        return Splits(*(self._table.classes(part) for part in parts))

    @cached_property
    def _table(self) -> ImageTable:
        return cached(self.cache, self._key, self._draw)

    @property
    def _key(self) -> str:
        look = f"{self.image_size}px-{self.copies}x-distortion{float(self.distortion)}-seed{self.drawing_seed}"
        return f"glyphs-{look}-{fonts_hash()[:12]}-{renderer()['freetype']}-{pillow_version}-v{DRAWING}.{FORMAT}"

    def _draw(self) -> ImageTable:
        names = [f"{script}/{letter}" for script, letters in LETTERS.items() for letter in letters]
        fonts = [ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC) for path in font_files()]
        each = self.copies * len(fonts)
        images_NHW = np.empty((len(names) * each, self.image_size, self.image_size), np.uint8)
        for label, name in enumerate(names):
            letter = name[-1]
            shapes = [shape_of(letter, font) for font in fonts]
            distortions_KF5 = self.distortion * random_distortions(self.drawing_seed, letter, self.copies, len(fonts))
            for number, distortion_5 in enumerate(distortions_KF5.reshape(each, 5)):
                shape = shapes[number % len(fonts)]
                images_NHW[label * each + number] = distorted(shape, distortion_5, self.image_size)
        labels_N = torch.arange(len(names)).repeat_interleave(each)
        return ImageTable(torch.from_numpy(images_NHW)[:, None], labels_N, tuple(names))

    def converted(self, image: Image.Image) -> Converted:
        """Convert to light ink on dark paper, padded to a square and resized with anti-aliasing."""
        return convert_drawing(image, self.image_size)

    def check_unseen(self, training_data: Mapping[str, Any]) -> None:
        """Raise UserError if a network was trained on letters of a script that is tested here."""
        if training_data["name"] != "glyphs":
            return
        seen = [script for script in training_data["scripts"] if script not in self.scripts]
        if seen:
            raise UserError(
                f"This network was trained on {_list(training_data['scripts'])} letters, and data.scripts="
                f"[{','.join(self.scripts)}] tests {_list(seen)}. Set data.scripts="
                f"[{','.join(training_data['scripts'])}] to test scripts that the network has not seen."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the base state and the scripts that are trained on, for `check_unseen`."""
        return super().state_dict() | {TRAINED_CLASSES: {"name": "glyphs", "scripts": list(self.scripts)}}

    def provenance(self) -> dict[str, str]:
        """Return the fonts, the renderer and the checksum of the drawn images.

        The images depend on the versions of the fonts, of FreeType and of Pillow. Runs with the same checksum have
        seen the same images.
        """
        versions = renderer()
        table = self._table
        return {
            "from": f"DejaVu fonts of matplotlib {matplotlib.__version__}, SHA-256 {fonts_hash()[:12]}",
            "renderer": f"FreeType {versions['freetype']}, Pillow {versions['pillow']}",
            "cache": str(self.cache),
            "images": f"sha256:{hashlib.sha256(table.images_NCHW.numpy().data).hexdigest()}",
        }

    def verify(self) -> list[str]:
        """Read every byte of the cached table."""
        return check_stored(self.cache / self._key)


def shape_of(letter: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw a letter in gray levels, white on black, cropped to its ink."""
    drawn = Image.new("L", (3 * FONT_SIZE, 3 * FONT_SIZE))
    ImageDraw.Draw(drawn).text((FONT_SIZE, FONT_SIZE), letter, fill=255, font=font)
    return drawn.crop(drawn.getbbox())


def random_distortions(seed: int, letter: str, copies: int, typefaces: int) -> NDArray[np.float64]:
    """Draw turn, shear, scale and both shifts of every image of a letter: (copies, typefaces, 5).

    The numbers of a letter depend on neither the other letters nor the number of copies.
    """
    limits_5 = np.array([TURN, SHEAR, SCALE, SHIFT, SHIFT])
    generator = np.random.default_rng([seed, ord(letter)])
    return generator.uniform(-1, 1, (copies, typefaces, 5)) * limits_5


def distorted(shape: Image.Image, distortion_5: NDArray[np.float64], image_size: int) -> NDArray[np.uint8]:
    """Return a letter in the middle of an image (H, W), under an affine distortion.

    Args:
        shape: the letter, white on black, cropped to its ink.
        distortion_5: turn in radians, shear, change of scale, horizontal and vertical shift as shares of the image.
        image_size: height and width in pixels.
    """
    turn, shear, scale, *shift_2 = distortion_5
    side = image_size * FINER
    enlarged = (1 + scale) * LETTER_SIZE * side / max(shape.size)
    cosine, sine = math.cos(turn), math.sin(turn)
    onto_image_22 = enlarged * np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1, shear], [0, 1]])
    onto_shape_22 = np.linalg.inv(onto_image_22)
    center_2 = side * (0.5 + np.array(shift_2))
    offset_2 = np.array(shape.size) / 2 - onto_shape_22 @ center_2
    data = tuple(np.column_stack([onto_shape_22, offset_2]).ravel().tolist())
    drawn = shape.transform((side, side), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(drawn.reduce(FINER))


def script_of(class_name: str) -> str:
    """Return "Script" from "Script/letter"."""
    return class_name.split("/")[0]


def font_files() -> list[str]:
    """Return the paths of the 12 font files that matplotlib ships.

    Raises:
        UserError: if a file is missing.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in TYPEFACES:
        if not (folder / name).is_file():
            raise ResourceError(
                f"{folder} has no {name}, which data=glyphs draws from. Reinstall matplotlib with pip, which ships "
                "the DejaVu fonts."
            )
    return [str(folder / name) for name in TYPEFACES]


@cache
def fonts_hash() -> str:
    """Return the SHA-256 of the font files together. The files are read once in a process."""
    digest = hashlib.sha256()
    for path in font_files():
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def renderer() -> dict[str, str]:
    """Return the versions of FreeType and of Pillow, which draw the letters.

    Raises:
        UserError: if this build of Pillow has no FreeType.
    """
    freetype = features.version("freetype2")
    if freetype is None:
        raise ResourceError("data=glyphs needs Pillow with FreeType. Reinstall Pillow with pip, which brings both.")
    return {"freetype": freetype, "pillow": pillow_version}


def _check_options(image_size: int, copies: int, distortion: float, scripts: Sequence[str], drawing_seed: int) -> None:
    if image_size < 1:
        raise UserError(f"data.image_size must be at least 1 pixel, but is {image_size}.")
    if copies < 1:
        raise UserError(f"data.copies must be at least 1, but is {copies}.")
    if not 0 <= distortion <= STRONGEST:
        raise UserError(f"data.distortion must be between 0 and {STRONGEST}, but is {distortion}.")
    if drawing_seed < 0:
        raise UserError(f"data.drawing_seed must be at least 0, but is {drawing_seed}.")
    for script in scripts:
        if script not in LETTERS:
            raise UserError(
                f"There is no script {script!r}.{did_you_mean(script, LETTERS)} Available: {', '.join(LETTERS)}."
            )
    if not 0 < len(set(scripts)) < len(LETTERS):
        raise UserError(
            f"data.scripts must name between 1 and {len(LETTERS) - 1} scripts to train on, because the other scripts "
            f"are tested, but has {len(set(scripts))}."
        )


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
