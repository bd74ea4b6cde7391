"""CUB-200-2011: 11,788 photographs of 200 species of birds (Wah et al. 2011, CNS-TR-2011-001).

Classes 1–100 are for training and 101–200 for testing, as in Oh Song et al. 2016 (arXiv:1511.06452). The file
`train_test_split.txt` of the set is the split of classification, which has all classes in both parts. It is not read:
figures on it are not comparable.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from siamese_lab.data.datamodule import register
from siamese_lab.data.io.packaging import Copy, Pack, Packaging
from siamese_lab.data.sets.published_images import Count, PublishedImages, Row, read_columns, whole_number
from siamese_lab.errors import ResourceError

FOLDER, ARCHIVE = "CUB_200_2011", "CUB_200_2011.tgz"
URL = f"https://data.caltech.edu/records/65de6-vp158/files/{ARCHIVE}"


@register("cub200")
class Cub200(PublishedImages):
    """Reads CUB-200-2011 from `CUB_200_2011/` or its archive in `root`, or downloads it."""

    title = "CUB-200"
    order = 70
    place = ""
    packagings = (Packaging((Pack(FOLDER, ARCHIVE, 1_150_585_339, (URL,)),)),)
    digests: ClassVar[Mapping[str, str]] = {
        ARCHIVE: "sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081"
    }
    counts: ClassVar[Mapping[str, Count]] = {"train": Count(5_864, 100), "test": Count(5_924, 100)}

    def list_images(self, copy: Copy) -> Iterator[Row]:
        """Yield the images of images.txt with the labels of image_class_labels.txt, which must name the same images.

        The number of an image's class must be that of its folder, such as `001.Black_footed_Albatross`.
        """
        images = columns_by_number(copy.list_path(f"{FOLDER}/images.txt"), "image_name")
        path = copy.list_path(f"{FOLDER}/image_class_labels.txt")
        labels = columns_by_number(path, "class_id")
        if differing := sorted(images.keys() ^ labels.keys()):
            raise ResourceError(
                f"images.txt and {path} should name the same images, but {len(differing):,} are in one of them only, "
                f"such as image {differing[0]}. Replace both with the original ones."
            )
        trained = self.counts["train"].classes or 0
        for key, name in images.items():
            number, folder = whole_number(path, "the class", labels[key]), PurePosixPath(name).parts[0]
            if not folder.startswith(f"{number:03}."):
                raise ResourceError(
                    f"{path} puts image {key} ({name}) into class {number}, but its folder belongs to another class. "
                    "Replace the lists with the original ones."
                )
            yield Row(copy.name(FOLDER, f"images/{name}"), folder, "train" if number <= trained else "test")


def columns_by_number(path: Path, column: str) -> dict[str, str]:
    """Return the second column of a list by the number of the image, which is the first column."""
    return {row[0]: row[1] for row in read_columns(path, ("image_id", column))}
