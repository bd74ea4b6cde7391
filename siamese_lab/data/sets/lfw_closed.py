"""LFW with the same people in training and test: photographs of known people that the network has not seen.

People with at least 10 photographs (158 people, 4,324 photographs) are split by photograph: 60% for training, 20% for
validation, 20% for testing, at least 2 each. Test photographs are queries, and training photographs are the gallery.
This is a classification-like protocol, which is not comparable with View 1 or View 2, where no person is known.

Shapes: N photographs, C people, D pixels of a small gray photograph.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, Splits, register
from siamese_lab.data.io.messages import announce
from siamese_lab.data.sets.lfw import FACES, Lfw, tested_people
from siamese_lab.data.sets.lfw_people import people
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError

LEAST_PHOTOGRAPHS = 10
HELD_OUT = 0.2
"""Share of the photographs of a person that validate, and that are tested."""
LEAST_HELD_OUT = 2
SMALL, SMALL_CROP = 32, 150
"""Side of the gray photographs that are compared, and of the middle square that they show."""


class PhotographSplit(NamedTuple):
    """Rows of the photographs of each part; each is ascending."""

    train_N: Tensor
    validation_N: Tensor
    test_N: Tensor


@register("lfw_closed")
class LfwClosed(DataModule):
    """Splits the photographs of each person with at least 10 photographs, and drops near-duplicates.

    A photograph of the test is dropped if a photograph of the same person in another part is nearly the same, and a
    photograph of the validation part if one in the training part is: the correlation of their gray pixels (32 × 32, of
    the middle 150 of 250) is above `duplicates_above`. The number of dropped photographs is recorded.

    Args:
        root: see `Lfw`.
        cache: see `Lfw`.
        alignment: see `Lfw`.
        split_seed: seed of the split; separate from the seed of the run.
        duplicates_above: correlation, above 0 and at most 1. 1 drops nothing. No two photographs of different people
            have a correlation above 0.94.
        crop: see `Lfw`.
        image_size: see `Lfw`.
        color: see `Lfw`.
        **common: see `DataModule`.
    """

    title = "LFW"
    order = 51
    protocol = "closed"
    notes = ("LFW closed knows its people: it tests unseen photographs of the people that it trains on.",)
    limitations = (FACES,)
    compared = ("alignment",)

    def __init__(
        self,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        alignment: str | None = None,
        split_seed: int = 0,
        duplicates_above: float = 0.94,
        crop: int = 150,
        image_size: int = 64,
        color: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if not 0 < duplicates_above <= 1:
            raise UserError(
                f"data.duplicates_above is a correlation above 0 and at most 1, but is {duplicates_above}. "
                "1 drops no photograph."
            )
        self.split_seed = split_seed
        self.duplicates_above = duplicates_above
        self.image_size = image_size
        self.channels = 3 if color else 1
        self._photographs = Lfw(root, cache, alignment, crop=crop, image_size=image_size, color=color)
        self._small = Lfw(root, cache, alignment, crop=SMALL_CROP, image_size=SMALL, color=False)

    def load(self) -> Splits:
        """Decode all photographs, or load them from the cache, and split those of each person."""
        everyone = closed_people(self._photographs.everyone)
        return Splits(*(everyone.rows(row_N) for row_N in self._split))

    @cached_property
    def gallery(self) -> ImageTable:
        """The training photographs with their true labels."""
        return closed_people(self._photographs.everyone).rows(self._split.train_N)

    @cached_property
    def _split(self) -> PhotographSplit:
        """The rows of each part, without near-duplicates across parts."""
        small = closed_people(self._small.everyone)
        whole = split_photographs(small.labels_N, self.split_seed)
        kept = without_duplicates(whole, small.images_NCHW.flatten(1), small.labels_N, self.duplicates_above)
        if dropped := dropped_photographs(whole, kept):
            announce(
                f"Dropped {dropped['validation']} photographs of validation and {dropped['test']} of test: near-"
                f"duplicates across parts, with a correlation above {self.duplicates_above:g}."
            )
        return kept

    def converted(self, image: Image.Image) -> Converted:
        """Convert an image as View 1 and View 2 do: see `Lfw.converted`."""
        return self._photographs.converted(image)

    def provenance(self) -> dict[str, str]:
        """Return the origin of the photographs, and the counts of the protocol.

        They are the number of dropped near-duplicates, and the share of queries of the most frequent person, which is
        the Recall@1 of always naming this person.
        """
        small = closed_people(self._small.everyone)
        dropped = dropped_photographs(split_photographs(small.labels_N, self.split_seed), self._split)
        tested_C = small.labels_N[self._split.test_N].bincount(minlength=len(small.class_names))
        most = int(tested_C.argmax())
        return self._photographs.provenance() | {
            "near_duplicates": f"{dropped.get('validation', 0)} of validation and {dropped.get('test', 0)} of test "
            f"dropped, correlation above {self.duplicates_above:g}",
            "most_frequent": f"{small.class_names[most]}: {int(tested_C[most])} of {int(tested_C.sum())} queries "
            f"({int(tested_C[most]) / int(tested_C.sum()):.1%})",
        }

    def check_unseen(self, training_data: Mapping[str, Any]) -> None:
        """Raise UserError if a network was trained on photographs that this set tests."""
        name, tested = training_data["name"], {label for label, _ in enumerate_closed()}
        if name == "lfw":
            view, fold = training_data["view"], training_data["fold"]
            seen = tested - set(tested_people(view, fold))
            if seen:
                raise UserError(
                    f"A network trained on View {view} of LFW has seen the test photographs of {len(seen)} people of "
                    "data=lfw_closed, so it cannot be reported there. Train one with data=lfw_closed."
                )
        elif name == "lfw_closed" and (seed := training_data.get("split_seed", 0)) != self.split_seed:
            raise UserError(
                f"A network trained with data.split_seed={seed} has seen test photographs of "
                f"data.split_seed={self.split_seed}. Evaluate it on its own split."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the base state and the options that choose the training photographs, for `check_unseen`."""
        return super().state_dict() | {TRAINED_CLASSES: {"name": "lfw_closed", "split_seed": self.split_seed}}

    def absent(self) -> list[str]:
        """Return one sentence if the photographs have no local copy. Lists of pairs are not needed."""
        return self._photographs.absent_photographs()

    def verify(self) -> list[str]:
        """Read every photograph, both cached tables and the lists of pairs."""
        return self._photographs.verify()


def enumerate_closed() -> list[tuple[int, str]]:
    """Return index and name of each person with at least 10 photographs."""
    return [(label, each.name) for label, each in enumerate(people()) if each.images >= LEAST_PHOTOGRAPHS]


def closed_people(everyone: ImageTable) -> ImageTable:
    """Return the photographs of the people with at least 10 photographs."""
    return everyone.classes([label for label, _ in enumerate_closed()])


def split_photographs(labels_N: Tensor, seed: int) -> PhotographSplit:
    """Split the photographs of each person by a seeded permutation: 60% training, 20% validation, 20% test.

    Validation and test have at least 2 photographs of each person; fractions are rounded to the nearest number.

    Args:
        labels_N: the person of each photograph, 0 to C − 1; each person has at least 10 photographs.
        seed: the same seed gives the same split.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[], [], []]
    for label in range(int(labels_N.max()) + 1):
        row_M = (labels_N == label).nonzero().squeeze(1)
        row_M = row_M[torch.randperm(len(row_M), generator=generator)]
        held = max(LEAST_HELD_OUT, round(HELD_OUT * len(row_M)))
        for part, rows in zip(parts, row_M.split([len(row_M) - 2 * held, held, held]), strict=True):
            part.append(rows)
    return PhotographSplit(*(torch.cat(part).sort().values for part in parts))


def without_duplicates(split: PhotographSplit, pixels_ND: Tensor, labels_N: Tensor, above: float) -> PhotographSplit:
    """Return a split without photographs of validation and test that are nearly the same as one in an earlier part.

    The parts are ordered training, validation, test. Only photographs of the same person are compared.

    Args:
        split: rows of `pixels_ND`.
        pixels_ND: gray photographs of any type.
        labels_N: their people.
        above: correlation above which two photographs are nearly the same.
    """
    x_ND = pixels_ND.float()
    x_ND = F.normalize(x_ND - x_ND.mean(1, keepdim=True), dim=1)
    kept, earlier_M = [split.train_N], split.train_N
    for row_N in split[1:]:
        r_NM = x_ND[row_N] @ x_ND[earlier_M].T
        other_NM = labels_N[row_N][:, None] != labels_N[earlier_M]
        is_new_N = r_NM.masked_fill_(other_NM, -1).max(1).values <= above
        kept.append(row_N[is_new_N])
        earlier_M = torch.cat([earlier_M, row_N])
    return PhotographSplit(*kept)


def dropped_photographs(whole: PhotographSplit, kept: PhotographSplit) -> dict[str, int]:
    """Return how many photographs of validation and of test were dropped; empty if none."""
    dropped = {
        "validation": len(whole.validation_N) - len(kept.validation_N),
        "test": len(whole.test_N) - len(kept.test_N),
    }
    return dropped if any(dropped.values()) else {}
