"""The files in .github and the citation agree with the repository: scripts, Pythons, versions, records, commands."""

import fnmatch
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from project import ROOT, pyproject

from siamese_lab.runs.results import Results

HOSTED = ROOT / ".github"
if not HOSTED.is_dir():
    pytest.skip("an sdist has no folder .github", allow_module_level=True)
WORKFLOWS = sorted((HOSTED / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (HOSTED / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
PROJECT = pyproject()["project"]
DOCKERFILE = re.sub(r"\\\n", " ", (HOSTED / "Dockerfile").read_text(encoding="utf-8"))
MADE = {"outputs/site"}
"""Paths that a step writes."""


class Step(NamedTuple):
    """One step of a job."""

    job: str
    content: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.job}: {self.content.get('run') or self.content.get('uses')}"


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


JOBS = {f"{path.name}/{name}": job for path in WORKFLOWS for name, job in read(path)["jobs"].items()}
STEPS = [Step(name, step) for name, job in JOBS.items() for step in job["steps"]]
COMMANDS = [each for each in STEPS if "run" in each.content]
LINES = [
    line
    for path in WORKFLOWS
    for line in path.read_text(encoding="utf-8").splitlines()
    if re.match(r" *(- )?uses:", line)
]


def named_paths(command: str) -> Iterator[str]:
    """Yield the words of a command that name files of the repository."""
    for line in command.splitlines():
        for word in shlex.split(line):
            if re.fullmatch(r"\.?[\w-][\w./-]*", word) and ("/" in word or word.endswith((".py", ".lock", ".txt"))):
                yield word


@pytest.mark.parametrize("step", COMMANDS, ids=str)
def test_the_files_of_a_step_exist(step: Step) -> None:
    for path in named_paths(step.content["run"]):
        assert path in MADE or (ROOT / path).exists(), path
        if step.content["run"].startswith(path):
            assert os.access(ROOT / path, os.X_OK), f"{path} is not executable"


def test_paths_are_found_in_commands() -> None:
    command = (
        'pip install -r .ci/requirements.lock && pip install ".[docs]" zizmor==1.32.0\n.ci/run "siamese_lab:$BASE"'
    )
    assert list(named_paths(command)) == [".ci/requirements.lock", ".ci/run"]


@pytest.mark.parametrize("step", COMMANDS, ids=str)
def test_installed_extras_exist(step: Step) -> None:
    for extras in re.findall(r"\.\[([\w,]+)\]", step.content["run"]):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("step", COMMANDS, ids=str)
def test_no_expression_is_pasted_into_a_shell(step: Step) -> None:
    assert "${{" not in step.content["run"], "pass it through env: its text could be a command"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in read(path)["jobs"].values())


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_keeps_no_credentials(job: str) -> None:
    assert 0 < JOBS[job]["timeout-minutes"] <= 180
    checkouts = [step for step in JOBS[job]["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"] for step in checkouts] == [{"persist-credentials": False}]


@pytest.mark.parametrize("line", sorted(set(LINES)))
def test_an_action_is_pinned_to_a_commit(line: str) -> None:
    assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)


def test_an_action_has_one_version() -> None:
    pins = {line.split("uses: ")[1] for line in LINES}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


def test_the_pythons_are_those_of_the_project() -> None:
    classifiers = [each.rpartition(" :: ")[2] for each in PROJECT["classifiers"]]
    named = [each for each in classifiers if re.fullmatch(r"3\.\d+", each)]
    matrices = [job["strategy"]["matrix"]["python"] for job in JOBS.values() if "python" in str(job.get("strategy"))]
    assert len(matrices) == 2
    assert all(pythons == named for pythons in matrices), (matrices, named)
    assert PROJECT["requires-python"] == f">={named[0]}"
    setups = [
        each.content["with"]["python-version"] for each in STEPS if "setup-python" in each.content.get("uses", "")
    ]
    assert setups and set(setups) <= {*named, "${{ matrix.python }}"}


def test_the_lint_job_checks_what_ci_checks() -> None:
    (line,) = re.findall(r"^lint\(\) \{ (.*); \}$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)
    commands = {each.content["run"] for each in COMMANDS if each.job == "ci.yml/lint"}
    assert set(line.split(" && ")) <= commands


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_for_what_an_answer_needs(path: Path) -> None:
    form = read(path)
    asked = [each for each in form["body"] if each["type"] != "markdown"]
    assert form["name"] and form["description"]
    assert len({each["id"] for each in asked}) == len(asked)
    assert any(each.get("validations", {}).get("required") for each in asked)
    assert all(each["attributes"]["label"] for each in asked)


def test_the_bug_form_asks_for_the_environment_of_results_json() -> None:
    (form,) = (read(path) for path in FORMS if path.stem == "bug")
    (environment,) = (each for each in form["body"] if each.get("id") == "environment")
    text = environment["attributes"]["description"]
    assert environment["validations"]["required"]
    (keys,) = re.findall(r"RUN/results\.json ([\w ]+)`", text)
    assert set(keys.split()) <= {field.name for field in fields(Results)}
    assert {"versions", "commit", "hardware"} <= set(keys.split())
    for key in keys.split():
        assert f"`{key}`" in text


def test_the_templates_name_headings_that_exist() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    texts = [path.read_text(encoding="utf-8") for path in (*FORMS, HOSTED / "PULL_REQUEST_TEMPLATE.md")]
    named = [each for text in texts for each in re.findall(r'"([\w ]+)" in CONTRIBUTING\.md', text)]
    assert len(named) == 3
    assert set(named) <= set(headings)


def test_the_base_images_are_pinned_and_the_user_is_not_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    pinned = [base for base in bases if not base.startswith("${BASE}")]
    assert len(pinned) == 2
    assert all(re.search(r":\d+\.\d+\.\d+-[\w.-]+$", base) for base in pinned), pinned
    assert int(re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1]) > 0
    assert 'ENTRYPOINT ["python", "-m", "siamese_lab"]' in DOCKERFILE
    for command in re.findall(r"pip install (.*)", DOCKERFILE):
        assert "--no-cache-dir" in command
    for command in re.findall(r"apt-get update.*", DOCKERFILE):
        assert command.rstrip().endswith("rm -rf /var/lib/apt/lists/*")


def test_the_labels_of_the_image_are_those_of_the_project() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', DOCKERFILE))
    assert labels == {
        "title": PROJECT["name"],
        "description": PROJECT["description"],
        "licenses": PROJECT["license"],
        "version": PROJECT["version"],
    }


def test_the_image_gets_what_the_wheel_is_built_from() -> None:
    copied = [
        path for paths in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for path in paths.split()
    ]
    wheel = pyproject()["tool"]["hatch"]["build"]["targets"]
    needed = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], *wheel["wheel"]["packages"]}
    needed |= wheel["wheel"]["force-include"].keys()
    assert set(copied) == needed
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for path in copied:
        assert (ROOT / path).exists()
        assert sent_to_docker(path, rules), path
    assert not sent_to_docker(".git", rules)
    assert not sent_to_docker("outputs", rules)


def sent_to_docker(path: str, rules: list[str]) -> bool:
    """Return whether a path at the top is part of the context of a build: the last rule that fits decides."""
    sent = True
    for rule in rules:
        if rule and not rule.startswith("#") and fnmatch.fnmatch(path, rule.removeprefix("!")):
            sent = rule.startswith("!")
    return sent


def test_the_citation_is_complete_and_of_this_version() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys(), "required by the Citation File Format"
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(PROJECT["name"])
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys(), "required by the Citation File Format"
        assert all(re.fullmatch(r"arXiv:\d{4}\.\d{5}", each["value"]) for each in reference["identifiers"])


def test_the_hooks_run_installed_tools() -> None:
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    tools = {"lint-imports": "import-linter"}
    programs = {hook["entry"].split()[0] for hook in hooks}
    pinned = {re.split(r"[=><\[]", each)[0] for each in PROJECT["optional-dependencies"]["dev"]}
    assert {tools.get(program, program) for program in programs} <= pinned
    assert all(hook["language"] == "system" for hook in hooks)
