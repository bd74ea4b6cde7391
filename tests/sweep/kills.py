"""Kill training at random times, continue it, and compare with undisturbed training: `python tests/sweep/kills.py`.

`--kills 100` spreads 100 kills over single runs, runs of two processes, and sweeps with and without joblib. `--other`
puts the temporary folder of the system, or the outputs, on a disk of their own, which needs Linux and user namespaces.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

SHORT = ("data=digits", "threads=1", "trainer.accelerator=cpu", "trainer.val_check_interval=4", "network.width=16")
SINGLE = (*SHORT, "trainer.max_steps=60", "sampler=semi_hard")
STUDY = (*SHORT, "-m", "experiment=study", "study_name=study", "seed=0", "sampler=random,semi_hard")
STEPS = "recipe.steps=60"
KINDS: dict[str, tuple[str, ...]] = {
    "single": (*SINGLE, "hydra.run.dir=outputs/run"),
    "two_processes": (*SINGLE, "hydra.run.dir=outputs/run", "trainer.devices=2"),
    "sweep": (*STUDY, STEPS),
    "joblib": (*STUDY, STEPS, "launcher=joblib", "hydra.launcher.n_jobs=2"),
}
OTHER_DISKS = ("none", "tmp", "outputs")
LONGEST = 300.0
"""Seconds after which a command counts as one that does not end."""
MARK = "SIAMESE_LAB_KILLS"
"""Environment variable by which all processes of a command are recognized."""


class Outcome(NamedTuple):
    """Holds what a command has left: results without times, and a hash of the last weights, for each run."""

    results: dict[str, Any]
    weights: dict[str, str]


def command_line(kind: str, folder: Path) -> list[str]:
    """Return the command that starts or continues the training of a kind."""
    arguments = list(KINDS[kind])
    last = folder / "outputs/run/checkpoints/last.ckpt"
    if kind in ("single", "two_processes") and last.is_file():
        arguments = [f"resume='{last}'"]
    return [sys.executable, "-m", "siamese_lab.train", *arguments]


def started(kind: str, folder: Path, mark: str) -> subprocess.Popen[bytes]:
    """Start the training of a kind; its output goes to a file."""
    variables = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command_line(kind, folder), cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT
        )


def processes_of(mark: str) -> list[int]:
    """Return the living processes that a marked command has started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def ended(process: subprocess.Popen[bytes], mark: str) -> bool:
    """Wait until a killed command and all of its processes have ended; kill them and return False after LONGEST."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        if process.poll() is not None and not processes_of(mark):
            return True
        time.sleep(0.1)
    for pid in processes_of(mark):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    return False


def kill_one(kind: str, folder: Path, mark: str, chance: random.Random, victim: str = "any") -> str:
    """Kill a process of a command at a random time after training has begun, and describe it.

    Args:
        kind: one of KINDS.
        folder: the folder in which the command runs.
        mark: the mark of its processes.
        chance: chooses the time, and the process among those that `victim` allows.
        victim: "main", "other" or "any".
    """
    process = started(kind, folder, mark)
    before = newest(folder)
    until = time.monotonic() + LONGEST
    while newest(folder) == before and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(chance.random() * 1.5)  # covers steps, validations and checkpoints
    victims = [pid for pid in processes_of(mark) if not is_tracker(pid)]
    victims = [pid for pid in victims if victim in ("any", "main" if pid == process.pid else "other")]
    if process.poll() is not None or not victims:
        return "had ended"
    killed = chance.choice(victims)
    os.kill(killed, signal.SIGKILL)
    which = "main process" if killed == process.pid else "other process"
    return which if ended(process, mark) else f"{which}: DOES NOT END"


def is_tracker(pid: int) -> bool:
    """Return whether a process only tracks resources of the others."""
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def newest(folder: Path) -> float:
    """Return the time of the last change of a record."""
    return max((path.stat().st_mtime for path in (folder / "outputs").rglob("results.json")), default=0.0)


def complete(kind: str, folder: Path, mark: str) -> None:
    """Continue the training to its end."""
    if kind in ("single", "two_processes") and finished(folder):
        return
    process = started(kind, folder, mark)
    if process.wait(LONGEST) != 0:
        raise RuntimeError((folder / "output.txt").read_text()[-3000:])


def finished(folder: Path) -> bool:
    """Return whether the single run of a folder has finished."""
    path = folder / "outputs/run/results.json"
    return path.is_file() and json.loads(path.read_text())["status"] == "finished"


def outcome(folder: Path) -> Outcome:
    """Read what a command has left."""
    results, weights = {}, {}
    for path in sorted((folder / "outputs").rglob("results.json")):
        content = json.loads(path.read_text())
        for other in ("seconds", "seconds_of_history", "commit"):  # the code may be committed meanwhile
            content.pop(other)
        content["choices"].pop("resume", None)
        name = str(path.parent.relative_to(folder))
        results[name] = content
        state = torch.load(path.parent / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        tensors = [state[key].numpy().tobytes() for key in sorted(state) if isinstance(state[key], torch.Tensor)]
        weights[name] = hashlib.sha256(b"".join(tensors)).hexdigest()
    return Outcome(results, weights)


def faults(kind: str, kills: int, other: str = "none", seed: int = 0) -> list[str]:
    """Kill a kind of training, continue it, and list what differs from an undisturbed one.

    Args:
        kind: one of KINDS.
        kills: number of kills.
        other: the folder that is on a disk of its own, "tmp" or "outputs"; "none" puts both on the same disk.
        seed: seed of the times and of the killed processes.
    """
    chance = random.Random(f"{kind} {other} {seed}")
    found: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        expected, disturbed = new_folder(Path(place) / "undisturbed"), new_folder(Path(place) / "disturbed")
        if other != "none":
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disturbed / other)], check=True)
        try:
            complete(kind, expected, f"{place} undisturbed")
            for number in range(kills):
                killed = kill_one(kind, disturbed, f"{place} {number}", chance)
                print(f"{kind}, {other}: kill {number + 1} of {kills}: {killed}", file=sys.stderr, flush=True)
                if killed.endswith("END"):
                    found.append(killed)
                if killed == "had ended":
                    shutil.rmtree(disturbed / "outputs" / "study", ignore_errors=True)
                    shutil.rmtree(disturbed / "outputs" / "run", ignore_errors=True)
            complete(kind, disturbed, f"{place} last")
            found += differences(expected, disturbed)
            found += [f"process left: {pid}" for number in range(kills) for pid in processes_of(f"{place} {number}")]
        finally:
            if other != "none":
                subprocess.run(["umount", "--lazy", str(disturbed / other)], check=False)
    return found


def new_folder(folder: Path) -> Path:
    """Create a folder for commands, with its folders of temporary files and of outputs."""
    for part in ("tmp", "outputs"):
        (folder / part).mkdir(parents=True)
    return folder


def differences(expected: Path, disturbed: Path) -> list[str]:
    """List what differs between two folders, and unfinished files of the second folder."""
    found = compare(outcome(expected), outcome(disturbed))
    return found + [f"left: {path.name}" for path in (disturbed / "outputs").rglob("*.draft*")]


def compare(expected: Outcome, got: Outcome) -> list[str]:
    """List the runs whose results or weights differ."""
    if not expected.results:
        return ["there are no results"]
    found = [f"results of {name} differ" for name, each in expected.results.items() if got.results.get(name) != each]
    differing = [name for name, each in expected.weights.items() if got.weights.get(name) != each]
    return [*found, *(f"weights of {name} differ" for name in differing)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Spread kills over the kinds and disks of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--kills", type=int, default=12, help="number of kills in all")
    parser.add_argument("--other", nargs="+", default=["none"], choices=OTHER_DISKS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.other != ["none"] and MARK not in os.environ:
        inside = ["unshare", "--mount", "--map-root-user", sys.executable, __file__, *sys.argv[1:]]
        sys.exit(subprocess.run(inside, env={**os.environ, MARK: "inside"}, check=False).returncode)
    cases = [(kind, other) for kind in options.kinds for other in options.other]
    bad = 0
    for number, (kind, other) in enumerate(cases):
        kills = options.kills // len(cases) + (number < options.kills % len(cases))
        found = faults(kind, kills, other, options.seed)
        bad += bool(found)
        print(f"{kind}, other disk: {other}, {kills} kills: {'; '.join(found) or 'equal'}", flush=True)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
