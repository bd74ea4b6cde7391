"""The card beside an exported network: what it is, how good it is, and what it is not for (Mitchell et al. 2019)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from siamese_lab.evaluation import record
from siamese_lab.inference.export import INPUT, OUTPUT
from siamese_lab.inference.model import TrainedNetwork
from siamese_lab.inference.threshold import Threshold
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.display_names import metric_name

EVALUATIONS = "evaluations"


def model_card(network: TrainedNetwork, file: str, difference: float, threshold: Threshold | None) -> str:
    """The card in Markdown.

    Args:
        network: which was exported.
        file: the name of the exported file.
        difference: from the original, as `siamese_lab.inference.export.export` gives it.
        threshold: of its decisions, if one was chosen.
    """
    choices = network.trained.choices
    sections = {
        "What it is": [what_it_is(network, file, difference)],
        "How it was trained": list(training(network)),
        "How good it is": list(figures(network)),
        "Deciding whether two images are of one class": [deciding(threshold)],
        "Limits": list(limits(network)),
    }
    head = f"# {choices['network']['name']} trained on {network.images.title} with {choices['sampler']['name']}"
    told = [f"## {title}\n\n" + "\n\n".join(texts) for title, texts in sections.items()]
    return "\n\n".join([head, *told]) + "\n"


def what_it_is(network: TrainedNetwork, file: str, difference: float) -> str:
    """Input and output."""
    images, dimensions = network.images, network.network.embedding_dim
    colours = {1: "grey", 3: "red, green and blue"}.get(images.channels, f"{images.channels} channels")
    return (
        f"`{file}` makes embeddings of images, so that images of one class lie near one another.\n\n"
        f"* Input `{INPUT}`: float32 of 0…1, N × {images.channels} × {images.image_size} × {images.image_size} "
        f"({colours}), any N.\n"
        f"* Output `{OUTPUT}`: float32, N × {dimensions}, each of unit norm. Distances of two are 0…2.\n"
        f"* Images must be made as those of {images.title} were: see `DataModule.converted` of "
        f"`siamese_lab.data.{network.trained.choices['data']['name']}`, which `siamese_lab.load(…).embed` applies.\n"
        f"* On random images it differs from the original by at most {difference:.1g}."
    )


def training(network: TrainedNetwork) -> Iterator[str]:
    """Data, strategy and loss."""
    trained = network.trained
    choices = trained.choices
    rows = [
        ("data", named(choices["data"], leave_out=("root", "cache"))),
        ("strategy", named(choices["sampler"])),
        ("loss", named(choices["loss"])),
        ("network", named(choices["network"])),
        ("steps", f"{trained.step:,}"),
        ("seed", str(choices["seed"])),
    ]
    run = run_of(network)
    if run is not None:
        rows += [(f"images: {what}", where) for what, where in run.images.items() if what not in ("from", "cache")]
        rows += [("siamese_lab", run.versions["siamese_lab"]), ("PyTorch", run.versions["torch"])]
        rows += [("commit", run.commit)] if run.commit else []
    yield table(("", ""), rows)


def figures(network: TrainedNetwork) -> Iterator[str]:
    """From the newest evaluation of these weights, or else from the results of the run."""
    evaluation = newest_evaluation(network)
    run = run_of(network)
    if evaluation is not None:
        data = evaluation["data"]
        yield (
            f"On the {data['images']:,} test images of {data['classes']:,} classes of `{data['name']}`, of which "
            f"it was trained on {data['classes_trained_on']:,}. In brackets, 95% intervals."
        )
        for protocol in evaluation["protocols"].values():
            rows = [(metric_name(name), with_interval(figure)) for name, figure in protocol["figures"].items()]
            over = f" Intervals over {protocol['intervals_over']}." if protocol["intervals_over"] else ""
            yield f"{protocol['how']}{over}"
            yield table(("", "value"), rows)
    elif run is not None and run.tested_step == network.trained.step and run.test:
        yield (
            f"On the test images of `{run.data}`, as the run reported it. There are no intervals, as no evaluation of "
            "these weights lies beside the run: `python -m siamese_lab.evaluate` makes one."
        )
        rows = [(metric_name(name), "–" if value is None else number(value)) for name, value in run.test.items()]
        yield table(("", "value"), rows)
    else:
        yield (
            "It is not known: neither an evaluation nor the results of a run with these weights lie beside the "
            "checkpoint. `python -m siamese_lab.evaluate` makes one."
        )


def deciding(threshold: Threshold | None) -> str:
    """The threshold and its errors."""
    if threshold is None:
        return (
            "No threshold has been chosen for these weights: `python -m siamese_lab.verify`, or `.threshold` of what "
            "`siamese_lab.load` gives, chooses one."
        )
    return (
        f"Two images are taken to be of one class up to a distance of **{threshold.threshold:.4f}**, the best "
        f"for {threshold.chosen_pairs:,} {threshold.chosen_on}. Of {threshold.measured_on} it decides "
        f"{threshold.accuracy:.1%} rightly. It accepts {threshold.far:.1%} of {threshold.negatives:,} pairs of two "
        f"classes (FAR) and rejects {threshold.frr:.1%} of {threshold.positives:,} pairs of one (FRR). Where pairs of "
        "one class are rarer than half, as in any search, most of what is accepted may be wrong."
    )


def limits(network: TrainedNetwork) -> Iterator[str]:
    """State what the figures do not say, and the limitations that the data set declares."""
    images = network.images
    yield (
        f"The figures hold for images like those of {images.title}, made in the same way. Nothing is known of others, "
        "and the network does not notice that an image is of another kind: it gives an embedding of anything. "
        "It is one run with one seed; others differ."
    )
    yield from images.limitations


def newest_evaluation(network: TrainedNetwork) -> Mapping[str, Any] | None:
    """The latest evaluation.json beside the run that is of these weights, if there is any."""
    run = checkpoints.run_of(network.trained.checkpoint)
    if run is None:
        return None
    places = sorted(run.glob(f"{EVALUATIONS}/*/{record.FILE_NAME}"), key=lambda place: place.stat().st_mtime)
    for place in reversed(places):
        content: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        of = content.get("network", {})
        if (of.get("step"), Path(of.get("checkpoint", "")).name) == (
            network.trained.step,
            network.trained.checkpoint.name,
        ) and content.get("schema_version") == record.SCHEMA_VERSION:
            return content
    return None


def run_of(network: TrainedNetwork) -> results.Results | None:
    """The results of the run that the checkpoint lies in, if it lies in one."""
    run = checkpoints.run_of(network.trained.checkpoint)
    return None if run is None else results.read_results(run)


def with_interval(figure: Mapping[str, Any]) -> str:
    """Such as 0.8123 [0.8011, 0.8240]."""
    if figure["value"] is None:
        return "–"
    interval = f" [{number(figure['low'])}, {number(figure['high'])}]" if figure.get("low") is not None else ""
    return f"{number(figure['value'])}{interval}"


def number(value: float) -> str:
    """Four digits behind the point, none where it counts something."""
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.4f}"


def named(options: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> str:
    """The name of a part with its options."""
    told = [f"{name}={value}" for name, value in options.items() if name not in ("name", *leave_out)]
    return ", ".join([f"**{options['name']}**", *told])


def table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    """In Markdown."""
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)])
