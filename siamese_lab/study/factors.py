"""Collect the metric of every strategy at the levels of each factor of a study."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from siamese_lab.runs.display_names import is_figure
from siamese_lab.study.roles import held_options
from siamese_lab.study.runs import Placed, Run, Study

P, K = "data.classes_per_batch", "data.images_per_class"
BATCH = "batch size"
NAMES = {
    "loss.name": "loss",
    "network.embedding_dim": "embedding dimensions",
    P: BATCH,
    K: "images per class",
    "data.label_noise": "wrong labels",
    "network.batch_norm": "batch norm of embeddings",
    "trainer.max_steps": "steps",
    "loss.margin": "margin",
    "optimizer.lr": "learning rate",
    "data.rotations": "rotations as classes",
}
"""Display names of factors by their option, in display order; other options are shown by their own names."""
COLUMNS = ("data", "factor", "level", "standard", "strategy", "seed", "value")


class Level(NamedTuple):
    """The level of a factor that a run has."""

    factor: str
    """Display name of the factor, or of several factors joined by ×."""
    level: str


def factor_values(study: Study, metric: str) -> pd.DataFrame:
    """Return a row for each finished run of a factor, and for the standard run of the same strategy and seed.

    Columns: `COLUMNS`; `standard` tells the standard level. Rows are sorted by data set, factor and level.
    """
    rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    standard = {(run.data, run.strategy, run.seed): run for run in study.finished}
    for placed in study.factors:
        run, level = placed.run, level_of(placed)
        value = _value(run, metric)
        if not run.finished or value is None:
            continue
        key = (run.data, level.factor, level.level, run.strategy, run.seed)
        rows.setdefault(key, (*key[:3], False, *key[3:], value))
        same = standard.get((run.data, run.strategy, run.seed))
        own = None if same is None else _value(same, metric)
        if same is not None and own is not None:
            held = held_options(same.results.choices)
            usual = level_of(Placed(same, {option: held.get(option) for option in placed.options}))
            key = (run.data, level.factor, usual.level, run.strategy, run.seed)
            rows.setdefault(key, (*key[:3], True, *key[3:], own))
    table = pd.DataFrame(rows.values(), columns=list(COLUMNS))
    order = {data: number for number, data in enumerate(study.data)}
    factors = {name: number for number, name in enumerate(NAMES.values())}
    ranked = sorted(
        range(len(table)),
        key=lambda row: (
            order.get(table["data"][row], len(order)),
            factors.get(table["factor"][row], len(factors)),
            table["factor"][row],
            sort_key(table["level"][row]),
        ),
    )
    return table.iloc[ranked].reset_index(drop=True)


def level_of(placed: Placed) -> Level:
    """Return the factor and the level of a run. Batches of another number of images are the factor batch size."""
    options = dict(placed.options)
    held = held_options(placed.run.results.choices)
    if set(options) == {P, K}:
        return Level(NAMES[K], shown(options[K]))
    if set(options) == {P}:
        classes, images = options[P], held.get(K)
        if isinstance(classes, int) and isinstance(images, int):
            return Level(BATCH, shown(classes * images))
    listed = sorted(options, key=lambda option: ([*NAMES].index(option) if option in NAMES else 99, option))
    return Level(
        " × ".join(NAMES.get(option, option) for option in listed), ", ".join(shown(options[each]) for each in listed)
    )


def shown(value: Any) -> str:
    """Return a level as tables and axes show it."""
    if value is None or isinstance(value, bool):
        return {None: "not set", True: "on", False: "off"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def sort_key(level: str) -> tuple[Any, ...]:
    """Return a key that sorts levels by their numbers, and texts after numbers."""
    return tuple((0, float(part), "") if _is_number(part) else (1, 0.0, part) for part in level.split(", "))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _value(run: Run, metric: str) -> float | None:
    return run.results.test.get(metric) if is_figure(metric) else None


def is_single(factor: str) -> bool:
    """Return whether a factor is a single one, which a figure can show along an axis."""
    return " × " not in factor


def in_words(options: Mapping[str, Any]) -> str:
    """Return the options of a control arm, such as "num_negatives=10"."""
    return ", ".join(f"{option.rpartition('.')[2]}={shown(value)}" for option, value in options.items())
