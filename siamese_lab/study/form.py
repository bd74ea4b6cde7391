"""Whether what was read of a results.json has the form of one, so that nothing after needs to ask."""

from typing import Any, get_args

from siamese_lab.errors import UserError
from siamese_lab.runs.results import Results, Status

FORM: dict[str, Any] = {
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
}


def check_form(run: Results) -> None:
    """Raise UserError that says what is not as it should be."""
    wrong = _what_is_wrong(run)
    if wrong is not None:
        raise UserError(f"It is damaged, or not of this lab: {wrong}. Delete it, and run that job again.")


def _what_is_wrong(run: Results) -> str | None:
    for name, form in FORM.items():
        if not isinstance(getattr(run, name), form):
            return f"{name} is {getattr(run, name)!r}"
    if run.status not in get_args(Status):
        return f"status is {run.status!r}"
    if not isinstance(run.data_set, (dict, type(None))):
        return f"data_set is {run.data_set!r}"
    if not isinstance(run.choices.get("data"), dict):
        return "choices has no data"
    tuned = run.choices.get("tuned")
    if tuned is not None and not (isinstance(tuned, dict) and {"trials", "steps"} <= tuned.keys()):
        return f"choices has tuned={tuned!r}"
    for point in run.history:
        if not isinstance(point.train, dict) or not isinstance(point.validation, dict):
            return f"its history has {point!r}"
    numbers = [*run.test.values(), *run.validation.values(), *run.seconds_of_history]
    numbers += [value for point in run.history for value in (*point.train.values(), *point.validation.values())]
    for number in numbers:
        if not isinstance(number, (int, float, type(None))):
            return f"{number!r} stands where a number should"
    return None if len(run.history) == len(run.seconds_of_history) else "its history has lost its seconds"
