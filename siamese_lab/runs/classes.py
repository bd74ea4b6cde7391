"""The classes of a run, by part: every name and number of images in a checkpoint, a short summary in results.json."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from siamese_lab.errors import UserError

PARTS = ("train", "validation", "test")
SHOWN = 3
"""Number of classes that a message names."""
NAMED = 10
"""Largest number of classes that results.json names: those of MNIST."""


class Part(NamedTuple):
    """The classes of one part of a data set."""

    names: tuple[str, ...]
    """Name of each class, in the order of the labels."""
    images: tuple[int, ...]
    """Number of images of each class."""


class ClassParts(NamedTuple):
    """The classes of the three parts of a data set. In some data sets a class is in several parts."""

    train: Part
    validation: Part
    test: Part

    def names(self) -> frozenset[str]:
        """Return the names of all classes."""
        return frozenset().union(*(part.names for part in self))

    def as_text(self) -> str:
        """Return all parts as one text, which a checkpoint stores and loads at once, also with a million classes."""
        return json.dumps([[part.names, part.images] for part in self], ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: object) -> "ClassParts":
        """Return the parts of a text from `as_text`.

        Raises:
            UserError: if it is no such text.
        """
        try:
            parts = [Part(tuple(names), tuple(images)) for names, images in json.loads(str(text))]
            sound = len(parts) == len(PARTS) and all(is_sound(part) for part in parts)
        except (ValueError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise UserError(
                "The classes stored in the checkpoint are damaged: expected three lists of names and numbers of "
                f"images, but got {str(text)[:40]!r}. Use another checkpoint of the run."
            )
        return cls(*parts)

    def summary(self) -> dict[str, Any]:
        """Return the number of classes and images of each part, and a hash that two runs of equal classes share.

        A part of at most NAMED classes has their `names` as well.
        """
        return {
            name: {
                "classes": len(part.names),
                "images": sum(part.images),
                "sha256": hashlib.sha256("\0".join(part.names).encode("utf-8", "surrogatepass")).hexdigest(),
                **({"names": list(part.names)} if len(part.names) <= NAMED else {}),
            }
            for name, part in zip(PARTS, self, strict=True)
        }


def is_sound(part: Part) -> bool:
    """Return whether a part has a text and a natural number for each class."""
    return (
        len(part.names) == len(part.images)
        and all(isinstance(name, str) for name in part.names)
        and all(type(number) is int and number >= 0 for number in part.images)
    )


def describe_changes(before: ClassParts, now: ClassParts) -> list[str]:
    """Describe how classes have changed, in one phrase for each kind of change; an empty list if they are equal.

    >>> old = Part(("ant", "bee"), (4, 4))
    >>> describe_changes(ClassParts(old, old, old), ClassParts(old, old, Part(("ant", "cow"), (4, 4))))
    ["1 new class: 'cow'", "1 class in other parts: 'bee'"]
    """
    if before == now:
        return []
    names_before, names_now = before.names(), now.names()
    kept = names_before & names_now
    places_before, places_now = (
        {name: tuple(name in names for names in names_of) for name in kept}
        for names_of in ([frozenset(part.names) for part in parts] for parts in (before, now))
    )
    moved = [name for name in kept if places_before[name] != places_now[name]]
    phrases = [
        *_phrase(names_now - names_before, "new"),
        *_phrase(names_before - names_now, "missing"),
        *_phrase(moved, "", " in other parts"),
        *_other_counts(before, now),
    ]
    return phrases or ["the same classes in another order"]


def _phrase(names: Sequence[str] | frozenset[str], kind: str, place: str = "") -> Iterator[str]:
    if names:
        counted = f"{len(names):,} {kind} class{'es' * (len(names) > 1)}".replace("  ", " ")
        yield f"{counted}{place}: {listed(names)}"


def _other_counts(before: ClassParts, now: ClassParts) -> Iterator[str]:
    for name, old, new in zip(PARTS, before, now, strict=True):
        number = dict(zip(old.names, old.images, strict=True))
        other = [
            f"{each!r} had {number[each]:,} and has {images:,}"
            for each, images in zip(new.names, new.images, strict=True)
            if number.get(each, images) != images
        ]
        if other:
            more = f", and {len(other) - SHOWN:,} more" if len(other) > SHOWN else ""
            yield f"other numbers of {name} images: {', '.join(other[:SHOWN])}{more}"


def listed(names: Sequence[str] | frozenset[str]) -> str:
    """Return the first names for a message, with the number of the remaining ones.

    >>> listed(["b", "a", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(map(repr, sorted(names)[:SHOWN]))}{more}"
