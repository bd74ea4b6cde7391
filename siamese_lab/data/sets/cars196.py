"""Cars-196: 16,185 photographs of 196 models of cars (Krause et al. 2013, ICCV workshop).

Classes 1–98 are for training and 99–196 for testing, as in Oh Song et al. 2016 (arXiv:1511.06452). The split of the set
itself (`cars_train/` and `cars_test/`, or the field `test`) is the split of classification, which has all classes in
both parts. It is not used: figures on it are not comparable.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from siamese_lab.data.datamodule import register
from siamese_lab.data.io.file_names import escape_name
from siamese_lab.data.io.messages import read_file
from siamese_lab.data.io.packaging import Copy, Pack, Packaging
from siamese_lab.data.sets.published_images import LARGEST_LIST, Count, PublishedImages, Row
from siamese_lab.errors import ResourceError

ALL_ANNOTATIONS, TEST_ANNOTATIONS = "cars_annos.mat", "cars_test_annos_withlabels.mat"
TOGETHER = Packaging((Pack("car_ims", "car_ims.tgz"),), (ALL_ANNOTATIONS,))
APART = Packaging(
    (
        Pack("cars_train", "cars_train.tgz"),
        Pack("cars_test", "cars_test.tgz"),
        Pack("devkit", "car_devkit.tgz"),
    ),
    (TEST_ANNOTATIONS,),
)
LARGEST_CLASS = 9_999


@register("cars196")
class Cars196(PublishedImages):
    """Reads Cars-196 from `stanford_cars/` in `root`, in one of two packagings.

    One packaging has all images in `car_ims/`, with `cars_annos.mat`. The other has them in `cars_train/` and
    `cars_test/`, with `devkit/` and `cars_test_annos_withlabels.mat`. Both have the same images and classes.
    """

    title = "Cars-196"
    order = 71
    place = "stanford_cars"
    packagings = (TOGETHER, APART)
    digests: ClassVar[Mapping[str, str]] = {
        "car_ims.tgz": "md5:d5c8f0aa497503f355e17dc7886c3f14",
        ALL_ANNOTATIONS: "md5:b407c6086d669747186bd1d764ff9dbc",
        "cars_train.tgz": "sha256:b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
        "cars_test.tgz": "sha256:bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
        "car_devkit.tgz": "sha256:512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
        TEST_ANNOTATIONS: "sha256:790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
    }
    counts: ClassVar[Mapping[str, Count]] = {"train": Count(8_054, 98), "test": Count(8_131, 98)}

    def list_images(self, copy: Copy) -> Iterator[Row]:
        """Yield the images of the annotations, with names of classes such as `001 AM General Hummer SUV 2000`."""
        if copy.packaging == TOGETHER:
            path = copy.list_path(ALL_ANNOTATIONS)
            content = read_mat(path)
            yield from self._rows(copy, path, content, class_names(path, content), "relative_im_path", "car_ims")
            return
        meta = copy.list_path("devkit/cars_meta.mat")
        names = class_names(meta, read_mat(meta))
        for name, folder in (("devkit/cars_train_annos.mat", "cars_train"), (TEST_ANNOTATIONS, "cars_test")):
            path = copy.list_path(name)
            yield from self._rows(copy, path, read_mat(path), names, "fname", folder)

    def _rows(
        self, copy: Copy, path: Path, content: dict[str, Any], names: list[str], field: str, folder: str
    ) -> Iterator[Row]:
        """Yield the images of one file of annotations, which lie in one folder."""
        trained = self.counts["train"].classes or 0
        for file, number in annotations(path, content, field):
            if not 1 <= number <= len(names):
                raise ResourceError(
                    f"{path} puts {file} into class {number}, but there are classes 1 to {len(names)}. Replace it with "
                    "the original."
                )
            label = f"{number:03} {names[number - 1]}"
            part = "train" if number <= trained else "test"
            yield Row(copy.name(folder, file.removeprefix(f"{folder}/")), label, part)


def read_mat(path: Path) -> dict[str, Any]:
    """Read a MATLAB file. It holds data only, and nothing in it is executed.

    Raises:
        UserError: if the file is too large or cannot be read.
    """
    from scipy.io import loadmat

    content = read_file(path, LARGEST_LIST)
    try:
        return dict(loadmat(io.BytesIO(content), squeeze_me=True, variable_names=["annotations", "class_names"]))
    except Exception as error:  # the reader raises nearly every exception there is for damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ResourceError(f"{path} cannot be read as a MATLAB file ({reason}). It is damaged: replace it.") from error


def class_names(path: Path, content: dict[str, Any]) -> list[str]:
    """Return the names of the classes, from number 1.

    Raises:
        ResourceError: if the file has no class names.
    """
    names = np.atleast_1d(content.get("class_names", np.array([])))
    if not len(names) or len(names) > LARGEST_CLASS or not all(isinstance(name, str) for name in names):
        raise ResourceError(f"{path} holds no names of classes (class_names). It is another file: replace it.")
    return [escape_name(name) for name in names]


def annotations(path: Path, content: dict[str, Any], field: str) -> Iterator[tuple[str, int]]:
    """Yield the file and the number of the class of each image.

    Raises:
        ResourceError: if the file has no annotations with labels.
    """
    table = np.atleast_1d(content.get("annotations", np.array([])))
    columns = table.dtype.names or ()
    if field not in columns or "class" not in columns:
        lacking = "labels (class)" if field in columns else f"annotations with {field}"
        raise ResourceError(f"{path} holds no {lacking}. It is another file: replace it with the original.")
    for file, number in zip(table[field], table["class"], strict=True):
        if not (isinstance(file, str) and isinstance(number, (int, float, np.number)) and float(number).is_integer()):
            raise ResourceError(f"{path} holds an annotation without file or class. It is damaged: replace it.")
        yield file, int(number)
