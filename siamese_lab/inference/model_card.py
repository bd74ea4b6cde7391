"""Write the model card of an exported network: use, training, results and limitations (Mitchell et al. 2019)."""

from collections.abc import Iterator, Mapping
from typing import Any

from siamese_lab.errors.controls import escape_controls
from siamese_lab.evaluation import record
from siamese_lab.inference.export import INPUT, OUTPUT
from siamese_lab.inference.model import TrainedNetwork
from siamese_lab.inference.threshold import Threshold
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.display_names import metric_name
from siamese_lab.runs.escapes import escape_code, escape_markdown
from siamese_lab.runs.options import DATA_FOLDERS

EVALUATIONS = "evaluations"
PACKAGES = {"siamese_lab": "siamese_lab", "torch": "PyTorch"}
"""Packages with a row in the table of the training, and their names there."""


def model_card(network: TrainedNetwork, file: str, difference: float, threshold: Threshold | None) -> str:
    """Return the model card in Markdown.

    Args:
        network: the network that was exported.
        file: name of the exported file.
        difference: largest difference from the original, from `siamese_lab.inference.export.export`.
        threshold: the threshold for decisions, or None if none was chosen.
    """
    choices = network.trained.choices
    sections = {
        "Model": [model_section(network, file, difference)],
        "Training": list(training_section(network)),
        "Results": list(results_section(network)),
        "Deciding whether two images have the same class": [threshold_section(threshold)],
        "Limitations": list(limitations_section(network)),
    }
    datamodule = network.datamodule
    data = datamodule.title if datamodule.holds_pixels else f"{datamodule.title}, {datamodule.protocol}"
    names = f"{choices['network']['name']} trained on {data} with {choices['sampler']['name']}"
    head = f"# {escape_markdown(names)}"
    parts = [f"## {title}\n\n" + "\n\n".join(texts) for title, texts in sections.items()]
    return escape_controls("\n\n".join([head, *parts])) + "\n"


def model_section(network: TrainedNetwork, file: str, difference: float) -> str:
    """Describe the input and the output of the exported network."""
    datamodule, dimensions = network.datamodule, network.network.embedding_dim
    channels, size = datamodule.channels, datamodule.image_size
    stored = datamodule.stored_size
    cut = "" if stored is None else f" The shorter side is resized to {stored} pixels, and its middle is kept."
    colors = {1: "grayscale", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    if not datamodule.holds_pixels:
        return (
            f"`{escape_code(file)}` computes embeddings of frozen features, not of images. Features of images of one "
            "class get embeddings that are near one another.\n\n"
            f"* Input `{INPUT}`: float32, N × {channels} × 1 × 1, any N: the {channels} features of each image, see "
            "Limitations.\n"
            f"* Output `{OUTPUT}`: float32, N × {dimensions}. Each embedding has unit norm, so Euclidean distances are "
            "in 0…2.\n"
            f"* On random inputs, the output differs from the original network by at most {difference:.1g}."
        )
    return (
        f"`{escape_code(file)}` computes embeddings of images. Images of one class get embeddings that are near one "
        "another.\n\n"
        f"* Input `{INPUT}`: float32 in 0…1, N × {channels} × {size} × {size} ({colors}), any N.\n"
        f"* Output `{OUTPUT}`: float32, N × {dimensions}. Each embedding has unit norm, so Euclidean distances are in "
        "0…2.\n"
        f"* Convert images like the images of {escape_markdown(datamodule.title)}: see `DataModule.converted` of the "
        f"data set `{escape_code(network.trained.choices['data']['name'])}`. `siamese_lab.load(…).embed` does this for "
        f"you.{cut}\n"
        f"* On random images, the output differs from the original network by at most {difference:.1g}."
    )


def training_section(network: TrainedNetwork) -> Iterator[str]:
    """Yield a table of the data, the strategy, the loss and the network of the training."""
    trained = network.trained
    choices = trained.choices
    rows = [
        ("data", describe_options(choices["data"], leave_out=(*DATA_FOLDERS, "from", "about"))),
        ("strategy", describe_options(choices["sampler"])),
        ("loss", describe_options(choices["loss"])),
        ("network", describe_options(choices["network"])),
        ("steps", f"{trained.step:,}"),
        ("seed", str(choices["seed"])),
    ]
    run = results_of_run(network)
    if run is not None:
        rows += [(f"images: {what}", where) for what, where in run.images.items() if what not in ("from", "cache")]
        rows += [(shown, run.versions.get(name, "unknown")) for name, shown in PACKAGES.items()]
        rows += [("commit", run.commit)] if run.commit else []
    yield markdown_table(("", ""), rows)


def results_section(network: TrainedNetwork) -> Iterator[str]:
    """Yield the results of the newest evaluation of these weights, or else the results of the run."""
    evaluation = newest_evaluation(network)
    run = results_of_run(network)
    if evaluation is not None:
        data = evaluation.data
        yield (
            f"Measured on the {data.images:,} test images of {data.classes:,} classes of `{escape_code(data.name)}`. "
            f"The network was trained on {data.classes_trained_on:,} of these classes. Brackets show 95% intervals."
        )
        for protocol in evaluation.protocols.values():
            rows = [(metric_name(name), with_interval(figure)) for name, figure in protocol.figures.items()]
            over = f" The intervals are over {protocol.intervals_over}." if protocol.intervals_over else ""
            yield escape_markdown(f"{protocol.how}{over}")
            yield markdown_table(("", "value"), rows)
    elif run is not None and run.tested_step == network.trained.step and run.test:
        yield (
            f"Measured by the run on the test images of `{escape_code(run.data)}`. There are no intervals, because the "
            "run folder has no evaluation of these weights. `python -m siamese_lab.evaluate` adds one."
        )
        rows = [(metric_name(name), "–" if value is None else format_number(value)) for name, value in run.test.items()]
        yield markdown_table(("", "value"), rows)
    else:
        yield (
            "Unknown: there is neither an evaluation nor a run result for these weights. "
            "`python -m siamese_lab.evaluate` adds an evaluation."
        )


def threshold_section(threshold: Threshold | None) -> str:
    """Describe the threshold and its error rates."""
    if threshold is None:
        return (
            "No threshold has been chosen for these weights. `python -m siamese_lab.verify` chooses one, and so does "
            "`siamese_lab.load(…).threshold` in Python."
        )
    return (
        f"Two images are accepted as the same class up to a distance of **{threshold.threshold:.4f}**. This is the "
        f"best threshold for {threshold.chosen_pairs:,} {escape_markdown(threshold.chosen_on)}. Measured on "
        f"{escape_markdown(threshold.measured_on)}, it "
        f"decides {threshold.accuracy:.1%} correctly. It accepts {threshold.far:.1%} of {threshold.negatives:,} pairs "
        f"of two classes (FAR) and rejects {threshold.frr:.1%} of {threshold.positives:,} pairs of one class (FRR). If "
        "fewer than half of the compared pairs have one class, as in any search, most of the accepted pairs may be "
        "wrong."
    )


def limitations_section(network: TrainedNetwork) -> Iterator[str]:
    """Yield the limitations of the results, and the limitations that the data set declares."""
    datamodule = network.datamodule
    yield (
        f"The results hold for images like the images of {escape_markdown(datamodule.title)}, converted in the same "
        "way. Results on other images are unknown, and the network does not detect them: it returns an embedding for "
        "any image. "
        "The results come from one run with one seed. Other seeds give other results."
    )
    yield from datamodule.limitations


def newest_evaluation(network: TrainedNetwork) -> record.StoredEvaluation | None:
    """Return the newest evaluation.json of these weights in the run folder, or None if there is none."""
    run = checkpoints.run_of(network.trained.checkpoint)
    if run is None:
        return None
    places = sorted(run.glob(f"{EVALUATIONS}/*/{record.FILE_NAME}"), key=lambda place: place.stat().st_mtime)
    of_network = (network.trained.step, network.trained.checkpoint.name)
    for place in reversed(places):
        evaluation = record.read_evaluation(place)
        if evaluation is not None and (evaluation.step, evaluation.checkpoint) == of_network:
            return evaluation
    return None


def results_of_run(network: TrainedNetwork) -> results.Results | None:
    """Return the results of the run that the checkpoint belongs to, or None if it belongs to no run."""
    run = checkpoints.run_of(network.trained.checkpoint)
    return None if run is None else results.read_results(run)


def with_interval(figure: record.StoredFigure) -> str:
    """Format a value with its interval, such as 0.8123 [0.8011, 0.8240]."""
    if figure.value is None:
        return "–"
    low, high = figure.low, figure.high
    interval = "" if low is None or high is None else f" [{format_number(low)}, {format_number(high)}]"
    return f"{format_number(figure.value)}{interval}"


def format_number(value: float) -> str:
    """Format a value with four decimals, or with none if it is a count."""
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.4f}"


def describe_options(options: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> str:
    """Return the name of a part in bold, followed by its options."""
    values = [f"{name}={value}" for name, value in options.items() if name not in ("name", *leave_out)]
    return ", ".join([f"**{options['name']}**", *values])


def markdown_table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {escape_markdown(name)} | {escape_markdown(value)} |" for name, value in rows)])
