"""Create results of studies that were never run, with curves and figures like real ones, to test the report."""

import math

import numpy as np

from siamese_lab.runs.results import Point, Results

RECALL = {"mnist": 0.94, "fashion_mnist": 0.84, "omniglot": 0.86, "lfw": 0.45, "digits": 0.88}
"""Recall@1 of random sampling."""
EFFECTS = {"random": 0.0, "hard": 0.02, "semi_hard": 0.03, "distance_weighted": 0.034}
CONSTANT = {
    "network": {"name": "conv4", "embedding_dim": 128},
    "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.003, "weight_decay": 0.0001},
    "schedule": {
        "_target_": "siamese_lab.training.schedules.cosine",
        "_partial_": True,
        "steps": 1000,
        "warmup_fraction": 0.05,
    },
    "ema": None,
    "report_checkpoint": "last",
    "tuned": None,
}
METRICS = {"recall@1": 0.0, "recall@2": 0.05, "recall@4": 0.08, "recall@8": 0.1, "r_precision": -0.3, "map@r": -0.35}


def run(data="omniglot", strategy="random", seed=0, *, recall=None, effect=None, noise=0.004, steps=1000, **changed):
    """Return the results of one run. `recall` sets its test Recall@1, `changed` any field."""
    protocol = None
    if ":" in data:
        data, protocol = data.split(":")
    draws = np.random.default_rng([seed, *f"{data}{protocol}".encode()])
    luck = draws.normal(0, 2 * noise)  # the part that all strategies of a seed share
    draws = np.random.default_rng([seed, *f"{data}{protocol}{strategy}".encode()])
    if recall is None:
        gain = EFFECTS.get(strategy, 0.01) if effect is None else effect
        recall = RECALL[data] + luck + gain + draws.normal(0, noise)
    options = {"name": data, "root": "/somewhere", "classes_per_batch": 32, "images_per_class": 4}
    options |= {"view": 1, "fold": None} if data == "lfw" else {}
    options |= {"protocol": protocol} if protocol else {}
    history, seconds = course(recall, strategy, steps, draws)
    fields = {
        "data": data,
        "sampler": strategy,
        "loss": "triplet",
        "network": "conv4",
        "seed": seed,
        "choices": {
            "data": options,
            "sampler": {"name": strategy, "num_negatives": 1},
            "loss": {"name": "triplet", "margin": 0.2},
            "trainer": {"max_steps": steps},
            "paths": {"outputs": f"outputs/{seed}"},
            "seed": seed,
            **CONSTANT,
        },
        "images": {"from": "somewhere"},
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
        "commit": "a" * 40,
        "hardware": {"device": "A processor", "precision": "bf16-mixed", "cores": 2, "threads": 1},
        "status": "finished",
        "steps": steps,
        "tested_step": steps,
        "seconds": {"training": seconds[-1], "total": seconds[-1] + 3},
        "validation": dict(history[-1].validation),
        "test": {metric: max(0.0, min(1.0, recall + more)) for metric, more in METRICS.items()} | {"mrr": None},
        "history": history,
        "seconds_of_history": seconds,
    }
    return Results(**fields | changed)


def course(recall, strategy, steps, draws, validations=10):
    """Return ten validations on the way to a Recall@1, each with the logged figures of a training."""
    points, seconds = [], []
    for number in range(1, validations + 1):
        share = number / validations
        reached = recall * (1 - math.exp(-4 * share)) + draws.normal(0, 0.003)
        d_ap, d_an = 0.9 - 0.4 * share, 1.2 - (0.3 * share if strategy == "hard" else 0)
        train = {"loss": 0.2 * math.exp(-3 * share) + abs(draws.normal(0, 0.002)), "active_share": 0.8 - 0.6 * share}
        for name, middle in (("d_ap", d_ap), ("d_an", d_an)):
            train |= {f"{name}_q10": middle - 0.2, f"{name}_q50": middle, f"{name}_q90": middle + 0.15}
        validation = {"recall@1": reached, "mrr": reached}
        points.append(Point(int(steps * share), int(steps * share) * 384, train, validation))
        seconds.append(steps * share * (0.05 + 0.001 * draws.random()))
    return points, seconds


def written(folder, *runs):
    """Write runs like a study does."""
    for each in runs:
        protocol = each.choices["data"].get("protocol")
        place = folder / (f"{each.data}-{protocol}" if protocol else each.data) / each.sampler / f"seed={each.seed}"
        place.mkdir(parents=True, exist_ok=True)
        each.write(place)
    return folder


def study(
    folder,
    data=("mnist:disjoint", "fashion_mnist:disjoint", "omniglot", "lfw"),
    strategies=tuple(EFFECTS),
    seeds=3,
    **options,
):
    """Write a whole grid of runs."""
    every = (run(each, strategy, seed, **options) for each in data for strategy in strategies for seed in range(seeds))
    return written(folder, *every)
