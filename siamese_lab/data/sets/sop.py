"""Stanford Online Products: 120,053 photographs of 22,634 products in 12 categories (Oh Song et al. 2016, 1511.06452).

`Ebay_train.txt` lists 11,318 products for training, and `Ebay_test.txt` 11,316 others for testing.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import ClassVar

from siamese_lab.data.datamodule import register
from siamese_lab.data.io.packaging import Copy, Pack, Packaging
from siamese_lab.data.sets.published_images import Count, PublishedImages, Row, read_columns, whole_number

FOLDER, ARCHIVE = "Stanford_Online_Products", "Stanford_Online_Products.zip"
URL = f"http://ftp.cs.stanford.edu/cs/cvgl/{ARCHIVE}"
COLUMNS = ("image_id", "class_id", "super_class_id", "path")
SUFFIX_OF_CATEGORY = "_final"


@register("sop")
class Sop(PublishedImages):
    """Reads Stanford Online Products from `Stanford_Online_Products/` or its archive in `root`, or downloads it."""

    title = "SOP"
    order = 72
    place = ""
    packagings = (Packaging((Pack(FOLDER, ARCHIVE, 3_083_860_082, (URL,)),)),)
    digests: ClassVar[Mapping[str, str]] = {
        ARCHIVE: "sha256:b04fa78210e69fab050ce73939550e1cd0f96890bdd98ec9fee732c3b756ef48"
    }
    counts: ClassVar[Mapping[str, Count]] = {"train": Count(59_551, 11_318), "test": Count(60_502, 11_316)}

    def list_images(self, copy: Copy) -> Iterator[Row]:
        """Yield the images of both lists. The category of a product is `super_class_id`, with the name of its folder.

        A product is called `00001 bicycle`.
        """
        for part in ("train", "test"):
            path = copy.list_path(f"{FOLDER}/Ebay_{part}.txt")
            for _, label, category, name in read_columns(path, COLUMNS, skip=1):
                number = whole_number(path, "the class_id", label)
                kind = PurePosixPath(name).parts[0].removesuffix(SUFFIX_OF_CATEGORY)
                of = whole_number(path, "the super_class_id", category)
                yield Row(copy.name(FOLDER, name), f"{number:05} {kind}", part, category=f"{of:02} {kind}")
