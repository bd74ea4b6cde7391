"""By which code, packages and machines the runs of a study were made."""

from collections.abc import Callable

from siamese_lab.study.runs import Run, Study

UNKNOWN = "unknown"


def commits(study: Study) -> dict[str, list[str]]:
    """The runs of each version of the lab's code, the commonest first."""
    return _grouped(study.runs, lambda run: run.results.commit or UNKNOWN)


def versions(study: Study) -> dict[str, dict[str, list[str]]]:
    """The runs of each version of each package."""
    packages = dict.fromkeys(package for run in study.runs for package in run.results.versions)
    return {package: _grouped(study.runs, _version_of(package)) for package in packages}


def _version_of(package: str) -> Callable[[Run], str]:
    return lambda run: run.results.versions.get(package, UNKNOWN)


def machines(study: Study) -> dict[str, list[str]]:
    """The runs of each machine, with the threads they had."""
    return _grouped(study.runs, _machine)


def _machine(run: Run) -> str:
    hardware = run.results.hardware
    if not hardware:
        return UNKNOWN
    told = [str(hardware.get("device", UNKNOWN))]
    for name, what in (("precision", ""), ("cores", "cores "), ("threads", "threads ")):
        if name in hardware:
            told.append(f"{what}{hardware[name]}")
    return ", ".join(told)


def _grouped(runs: list[Run], key: Callable[[Run], str]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for run in runs:
        places.setdefault(key(run), []).append(run.place)
    return dict(sorted(places.items(), key=lambda each: -len(each[1])))
