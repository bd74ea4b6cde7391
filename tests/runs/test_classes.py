"""The classes of a run survive a checkpoint, changes are named, and a hundred thousand of them stay cheap."""

import io
import time

import pytest
import torch

from siamese_lab.runs.classes import ClassParts, Part, describe_changes
from siamese_lab.training.callbacks import StoredConfig

ODD = ("", " ", "Ä\0b", 'quote"', "line\nbreak", "漢字", "1", "None")


def part(**images: int) -> Part:
    return Part(tuple(images), tuple(images.values()))


PARTS = ClassParts(part(ant=4, bee=3), part(cow=2, dog=2), part(eel=5, fox=2))


def test_odd_names_return_from_a_checkpoint_unchanged() -> None:
    odd = ClassParts(Part(ODD, tuple(range(len(ODD)))), Part((), ()), part(x=1))
    file = io.BytesIO()
    torch.save(StoredConfig([], {}, odd).state_dict(), file)
    file.seek(0)
    assert ClassParts.from_text(torch.load(file, weights_only=True)["classes"]) == odd


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"test": part(eel=5, fox=2, gnu=1)}, ["1 new class: 'gnu'"]),
        ({"validation": part(cow=2)}, ["1 missing class: 'dog'"]),
        ({"train": part(ant=4), "test": part(bee=3, eel=5, fox=2)}, ["1 class in other parts: 'bee'"]),
        ({"train": part(ant=4, bee=5)}, ["other numbers of train images: 'bee' had 3 and has 5"]),
        ({"train": part(bee=3, ant=4)}, ["the same classes in another order"]),
        (
            {"train": part(ant=4, **{f"n{number}": 2 for number in range(5)})},
            ["5 new classes: 'n0', 'n1', 'n2' and 2 more", "1 missing class: 'bee'"],
        ),
        ({}, []),
    ],
)
def test_every_kind_of_change_is_named(change: dict[str, Part], facts: list[str]) -> None:
    assert describe_changes(PARTS, PARTS._replace(**change)) == facts


def test_a_class_may_be_in_every_part() -> None:
    closed = ClassParts(part(ant=8), part(ant=1), part(ant=2))
    assert describe_changes(closed, closed) == []
    assert describe_changes(closed, closed._replace(test=part(ant=3))) == [
        "other numbers of test images: 'ant' had 2 and has 3"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "[[],[],[]]",
        '[[["a"],[1]]]',
        '[[["a"],[]],[[],[]],[[],[]]]',
        '[[["a"],["1"]],[[],[]],[[],[]]]',
        "[[[1],[1]],[[],[]],[[],[]]]",
        '[[["a"],[-1]],[[],[]],[[],[]]]',
        '[[["a"],[true]],[[],[]],[[],[]]]',
        "[" * 9999,
    ],
)
def test_damaged_classes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="classes stored in the checkpoint are damaged"):
        ClassParts.from_text(text)


def test_a_hundred_thousand_classes_are_cheap() -> None:
    names = tuple(f"person_{number:06d}" for number in range(100_000))
    every = ClassParts(*(Part(names, (20,) * len(names)) for _ in range(3)))
    started = time.perf_counter()
    text = every.as_text()
    assert ClassParts.from_text(text) == every
    summary = every.summary()
    assert time.perf_counter() - started < 5
    assert len(text) < 6e6
    assert len(str(summary)) < 500
    assert summary["test"]["classes"] == 100_000
    assert summary["test"]["images"] == 2_000_000
    file = io.BytesIO()
    started = time.perf_counter()
    torch.save(StoredConfig([], {}, every).state_dict(), file)
    file.seek(0)
    torch.load(file, weights_only=True)
    assert time.perf_counter() - started < 2
