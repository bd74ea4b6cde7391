"""DeepFashion's In-Shop Clothes Retrieval: 52,712 photographs of 7,982 items of clothing (Liu et al. 2016, CVPR).

`list_eval_partition.txt` lists 3,997 items for training. The photographs of 3,985 others are queries or the gallery.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from siamese_lab.data.datamodule import register
from siamese_lab.data.io.packaging import Copy, Pack, Packaging
from siamese_lab.data.sets.published_images import Count, PublishedImages, Row, read_columns
from siamese_lab.errors import ResourceError

FOLDER, ARCHIVE, LIST = "img", "img.zip", "list_eval_partition.txt"
COLUMNS = ("image_name", "item_id", "evaluation_status")
PARTS = ("train", "query", "gallery")


@register("inshop")
class InShop(PublishedImages):
    """Reads In-Shop from `inshop/` in `root`, with `img/` or `img.zip` (256×256 pixels), and the list next to it."""

    title = "In-Shop"
    order = 73
    notes = ("In-Shop: each query searches the gallery.",)
    place = "inshop"
    packagings = (Packaging((Pack(FOLDER, ARCHIVE),), (LIST,)),)
    digests: ClassVar[Mapping[str, str]] = {}
    counts: ClassVar[Mapping[str, Count]] = {
        "train": Count(25_882, 3_997),
        "query": Count(14_218, 3_985),
        "gallery": Count(12_612, 3_985),
    }

    def list_images(self, copy: Copy) -> Iterator[Row]:
        """Yield the images of the list: two lines of header, then image, item and part."""
        path = copy.list_path(LIST)
        for name, item, part in read_columns(path, COLUMNS, skip=2):
            folder, _, rest = name.partition("/")
            if part not in PARTS or folder != FOLDER:
                raise ResourceError(
                    f"{path} has the image {name} with evaluation_status {part!r}, but an image is in {FOLDER}/ and is "
                    f"one of {', '.join(PARTS)}. Replace the list with the original one."
                )
            yield Row(copy.name(FOLDER, rest), item, part)
