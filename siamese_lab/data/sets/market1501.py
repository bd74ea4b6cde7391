"""Market-1501: 1,501 people, each photographed by at most six cameras (Zheng et al. 2015, ICCV).

A name such as `0002_c1s1_000451_03.jpg` holds the person and the camera. 751 people are for training. The other 750 are
queries and gallery. Images of person -1 (junk) are left out. Images of person 0000 (distractors) are searched, and each
of them is a separate class, because two of them do not show the same person.
"""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from PIL import Image

from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.datamodule import register
from siamese_lab.data.io.folder_walk import walk_folder
from siamese_lab.data.io.packaging import Copy, Pack, Packaging
from siamese_lab.data.sets.published_images import Count, PublishedImages, Row
from siamese_lab.errors import ResourceError

FOLDER, ARCHIVE = "Market-1501-v15.09.15", "Market-1501-v15.09.15.zip"
PARTS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
"""Folder of each part."""
NAME = re.compile(r"(-1|\d{4})_c([1-6])[^/]*\.jpg", re.ASCII)
"""Name of an image: person and camera."""
JUNK, DISTRACTOR = "-1", "0000"


class WholeImage(PhotoConverter):
    """Resizes the whole image to a square. The middle square of a standing person would lack the head and the feet."""

    def square(self, image: Image.Image, side: int) -> Image.Image:
        """Return the whole image as a square of `side` pixels."""
        return image.resize((side, side), Image.Resampling.BILINEAR)


@register("market1501")
class Market1501(PublishedImages):
    """Reads Market-1501 from `Market-1501-v15.09.15/` or its archive in `root`."""

    title = "Market-1501"
    order = 74
    notes = ("Market-1501: each query searches the gallery, without images of its own person and camera.",)
    limitations = (
        "This network was trained on photographs of pedestrians, who did not choose to be in a data set. It must not "
        "be used to identify or to follow people, to decide anything about them, or for surveillance. Its only purpose "
        "is to compare strategies that select training samples.",
    )
    place = ""
    packagings = (Packaging((Pack(FOLDER, ARCHIVE),)),)
    digests: ClassVar[Mapping[str, str]] = {ARCHIVE: "md5:65005ab7d12ec1c44de4eeafe813e68a"}
    counts: ClassVar[Mapping[str, Count]] = {
        "train": Count(12_936, 751),
        "query": Count(3_368, 750),
        "gallery": Count(15_913),
    }
    converter = WholeImage

    def list_images(self, copy: Copy) -> Iterator[Row]:
        """Yield the images of the three folders without junk, with person and camera. No list names them."""
        for folder, part in PARTS.items():
            path = copy.root / copy.folders[FOLDER] / folder
            if not path.is_dir():
                raise ResourceError(f"There is no folder {path}. Put the folder {folder} of the original set there.")
            for file in walk_folder(path).files:
                found = NAME.fullmatch(file.name)
                if found is None:
                    raise ResourceError(
                        f"{path / file.name} has another name than images of Market-1501, such as "
                        "0002_c1s1_000451_03.jpg. Remove it, or replace the set with the original."
                    )
                person, camera = found.groups()
                if person != JUNK:
                    label = f"distractor {file.name}" if person == DISTRACTOR else person
                    yield Row(copy.name(FOLDER, f"{folder}/{file.name}"), label, part, group=int(camera))
