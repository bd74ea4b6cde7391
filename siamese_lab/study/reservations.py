"""What a reader must know before believing the figures of a study."""

from siamese_lab.study.analysis import Findings
from siamese_lab.study.circumstances import commits, machines
from siamese_lab.study.protocol import is_tuned, some_are_tuned, tuned_by


def reservations(findings: Findings) -> list[str]:
    """A sentence or two for each; none where all is well."""
    study = findings.study
    told = []
    if len(commits(study)) > 1:
        told.append(
            f"The runs were made by {len(commits(study))} versions of the code, listed under “Versions and machine”, "
            "and are counted together. To count those of one alone: --commit HASH."
        )
    dirty = sum(len(places) for commit, places in commits(study).items() if commit.endswith("-dirty"))
    if dirty:
        told.append(
            f"Runs of code with changes that were not committed: {dirty}. Their commit does not tell what they ran."
        )
    if some_are_tuned(study.runs) and not is_tuned(study.runs):
        told.append("Some runs are of tuned options and others are not: this is no comparison of strategies.")
    for data, budgets in tuned_by(study.runs).items():
        if len(budgets) > 1:
            listed = " and ".join(sorted(budgets))
            told.append(f"On {data} strategies were not tuned by equal budgets, but by {listed}: this is not fair.")
    for each in findings.protocol.differing:
        values = "; ".join(f"{value} in {_some(places)}" for value, places in each.places.items())
        told.append(f"On {each.data} not only the strategies differ: {each.option} is {values}.")
    if len(machines(study)) > 1:
        told.append(
            "The runs differ in machine or number of threads (“Versions and machine”): their seconds do not compare."
        )
    failed = [run for run in study.runs if not run.finished]
    if failed or study.missing or study.set_aside:
        counts = ((failed, "not finished"), (study.missing, "missing"), (study.set_aside, "set aside"))
        listed = ", ".join(f"{len(which)} {what}" for which, what in counts if which)
        told.append(f"Of the jobs: {listed}; see “What failed or is missing”.")
    told += [f"{data}: {note}" for data, notes in study.notes.items() for note in notes]
    return told


def _some(places: list[str]) -> str:
    return ", ".join(places) if len(places) <= 4 else f"{', '.join(places[:3])} and {len(places) - 3} more"
