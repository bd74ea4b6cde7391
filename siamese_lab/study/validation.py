"""Validate the content of a results.json file once, so that later code can rely on its types."""

from typing import Any, get_args

from siamese_lab.errors import UserError
from siamese_lab.runs.results import Results, Status

TYPES: dict[str, Any] = {
    "data": str,
    "sampler": str,
    "seed": int,
    "commit": (str, type(None)),
    "choices": dict,
    "images": dict,
    "versions": dict,
    "hardware": dict,
    "validation": dict,
    "test": dict,
    "history": list,
    "seconds_of_history": list,
    "data_set": (dict, type(None)),
}
"""The expected type of each field."""


def validate_results(run: Results) -> None:
    """Raise UserError if a field of the results has the wrong type or the fields contradict each other."""
    problem = _find_problem(run)
    if problem is not None:
        raise UserError(
            f"The file is damaged, or siamese_lab did not write it: {problem}. Delete the file and run that job again."
        )


def _find_problem(run: Results) -> str | None:
    for name, expected in TYPES.items():
        if not isinstance(getattr(run, name), expected):
            return f"{name} is {getattr(run, name)!r}"
    if run.status not in get_args(Status):
        return f"status is {run.status!r}, expected one of {', '.join(get_args(Status))}"
    if not isinstance(run.choices.get("data"), dict):
        return "choices has no data"
    tuned = run.choices.get("tuned")
    if tuned is not None and not (isinstance(tuned, dict) and {"trials", "steps"} <= tuned.keys()):
        return f"choices has tuned={tuned!r}, expected a dictionary with trials and steps"
    for point in run.history:
        if not isinstance(point.train, dict) or not isinstance(point.validation, dict):
            return f"history has {point!r}, expected dictionaries of numbers"
    numbers = [*run.test.values(), *run.validation.values(), *run.seconds_of_history]
    numbers += [value for point in run.history for value in (*point.train.values(), *point.validation.values())]
    for number in numbers:
        if not isinstance(number, (int, float, type(None))):
            return f"expected a number, but got {number!r}"
    if len(run.history) != len(run.seconds_of_history):
        return f"history has {len(run.history)} points, but seconds_of_history has {len(run.seconds_of_history)}"
    return None
