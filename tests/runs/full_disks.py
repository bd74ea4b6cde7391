"""Run commands on small disks that fill up, and report what is left: `python tests/runs/full_disks.py [COMMAND …]`.

Each case starts in its own mount namespace, on a disk in memory. The command runs on the small disk, then again after
the disk has grown. Needs Linux, and root or user namespaces.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHORT = ("data=digits", "threads=1", "trainer.accelerator=cpu", "network.width=16")
STUDY = (*SHORT, "-m", "sampler=random,hard", "recipe.steps=10")
SIZES = {
    "train": (4, 40, 500, 2000, 3000),
    "sweep": (4, 40, 500, 3000, 5000),
    "tune": (4, 40, 500, 2000, 4600),
    "report": (4, 40, 200, 400, 600),
    "export": (4, 40, 100, 200, 400),
}
"""Sizes of the disks in KiB for each command, all too small."""
GROWN = 200_000
"""Size of a disk in KiB on which every command completes."""
SMALL_RUN = (*SHORT, "trainer.max_steps=10")


def command_line(command: str, disk: Path, prepared: Path) -> list[str]:
    """Return the command that writes to a disk."""
    arguments = {
        "train": ("train", *SMALL_RUN, f"hydra.run.dir={disk}/run"),
        "sweep": ("train", *STUDY, "experiment=study", "study_name=study", "seed=0", f"paths.outputs={disk}"),
        "tune": ("train", *STUDY, "experiment=tune", "tuning.trials=2", f"paths.outputs={disk}"),
        "report": ("report", f"{disk}/study"),
        "export": ("export", f"checkpoint={prepared}/run", "format=torch", f"out={disk}/network.pt2", "force=true"),
    }[command]
    return [sys.executable, "-m", f"siamese_lab.{arguments[0]}", *arguments[1:]]


def prepare(folder: Path, study: bool = True) -> None:
    """Train what `export` needs, and with `study` what `report` needs, on the usual disk."""
    lines = [
        ("train", *SMALL_RUN, f"hydra.run.dir={folder}/run"),
        ("train", *STUDY, "experiment=study", "study_name=study", "seed=0,1", f"paths.outputs={folder}", "logger=null"),
    ]
    for line in lines if study else lines[:1]:
        subprocess.run([sys.executable, "-m", f"siamese_lab.{line[0]}", *line[1:]], check=True, capture_output=True)
    for checkpoint in (folder / "study").rglob("*.ckpt"):
        checkpoint.unlink()


def can_mount() -> bool:
    """Return whether this process may mount disks in its own namespace."""
    if shutil.which("unshare") is None:
        return False
    mounts = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mounts, capture_output=True, check=False).returncode == 0


def run_case(command: str, size: int, prepared: Path) -> dict[str, Any]:
    """Run a command on a disk of `size` KiB and again on a grown disk, and describe both."""
    inside = [sys.executable, __file__, "--inside", command, str(size), str(prepared)]
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", *inside], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(json.loads(done.stdout))


def run_inside(command: str, size: int, prepared: Path) -> dict[str, Any]:
    """Run a case within its mount namespace."""
    disk = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o"]
    try:
        room = size
        if command == "report":
            room += folder_size(prepared / "study")
        subprocess.run([*mount, f"size={room}k", "tmpfs", str(disk)], check=True)
        if command == "report":
            shutil.copytree(prepared / "study", disk / "study")
        first = describe(command, disk, prepared)
        subprocess.run([*mount, f"remount,size={GROWN}k", str(disk)], check=True)
        second = describe(command, disk, prepared)
    finally:
        subprocess.run(["umount", str(disk)], check=False)
        disk.rmdir()
    return {"command": command, "size": size, "first": first, "second": second}


def folder_size(folder: Path) -> int:
    """Return the KiB that the files and folders below a folder occupy."""
    return sum(-(-path.stat().st_size // 4096) * 4 + 4 for path in folder.rglob("*"))


def describe(command: str, disk: Path, prepared: Path) -> dict[str, Any]:
    """Run a command, and describe its end and the files that it leaves."""
    before = whole_files(disk)
    ended = subprocess.run(command_line(command, disk, prepared), capture_output=True, text=True, check=False)
    after = whole_files(disk)
    output = ended.stdout + ended.stderr
    return {
        "status": ended.returncode,
        "tracebacks": output.count("Traceback"),
        "messages": [line for line in output.splitlines() if "no space left" in line.lower()],
        "torn": sorted(path for path, whole in after.items() if not whole),
        "lost": [
            path
            for path, whole in sorted(before.items())
            # a tuning deletes the checkpoints of finished trials
            if whole and not after.get(path) and not (command == "tune" and path.endswith(".ckpt"))
        ],
        "states": sorted(json.loads(path.read_text())["status"] for path in disk.rglob("results.json")),
        "drafts": sorted(str(path.relative_to(disk)) for path in disk.rglob("*.draft*")),
        "output": output[-2000:],
    }


def whole_files(disk: Path) -> dict[str, bool]:
    """Return for each file of results, checkpoints and exports whether it can be read."""
    return {
        str(path.relative_to(disk)): is_whole(path)
        for path in sorted(disk.rglob("*"))
        if path.suffix in READERS and ".hydra" not in path.parts
    }


def is_whole(path: Path) -> bool:
    """Return whether a file can be read to its end."""
    try:
        READERS[path.suffix](path)
    except Exception:  # a torn file can raise any exception
        return False
    return True


def read_checkpoint(path: Path) -> None:
    """Read a checkpoint."""
    import torch

    torch.load(path, weights_only=True)


def read_program(path: Path) -> None:
    """Read an exported program."""
    import torch

    torch.export.load(path)


def read_image(path: Path) -> None:
    """Read a picture."""
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def read_html(path: Path) -> None:
    """Read a page to its end."""
    assert path.read_text().rstrip().endswith("</html>")


def read_svg(path: Path) -> None:
    """Read a drawing to its end."""
    assert path.read_text().rstrip().endswith("</svg>")


READERS = {
    ".json": lambda path: json.loads(path.read_text()),
    ".ckpt": read_checkpoint,
    ".pt2": read_program,
    ".png": read_image,
    ".html": read_html,
    ".svg": read_svg,
}
"""Functions that read each kind of file that must be whole."""


def faults(case: dict[str, Any]) -> list[str]:
    """List what is wrong with a case: a full disk ends the command with one message, and nothing whole is lost."""
    first, second = case["first"], case["second"]
    found = []
    if first["status"] == 0:
        found.append("the small disk was large enough")
    elif len(first["messages"]) != 1:
        found.append(f"{len(first['messages'])} messages say that the disk is full")
    if "running" in first["states"]:
        found.append("a record says running")
    if second["status"] != 0 or any(state != "finished" for state in second["states"]):
        found.append(f"the command does not complete with space: {second['output']}")
    for part in (first, second):
        found += [f"traceback: {part['output']}"] * (part["tracebacks"] > 0)
        found += [f"torn: {path}" for path in part["torn"]]
        found += [f"lost: {path}" for path in part["lost"]]
        found += [f"draft left: {path}" for path in part["drafts"]]
    return found


def main() -> None:
    """Run the cases of the command line, and print a row for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="*", default=list(SIZES))
    parser.add_argument("--sizes", type=int, nargs="+", help="sizes in KiB, in place of the usual five")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.inside:
        command, size, prepared = options.inside
        print(json.dumps(run_inside(command, int(size), Path(prepared))))
        return
    with tempfile.TemporaryDirectory() as prepared:
        prepare(Path(prepared))
        bad = 0
        for command in options.commands:
            for size in options.sizes or SIZES[command]:
                case = run_case(command, size, Path(prepared))
                found = faults(case)
                bad += bool(found)
                first, second = case["first"], case["second"]
                print(
                    f"{command:<7}{size:>6} KiB  status {first['status']}, {len(first['messages'])} messages, "
                    f"{','.join(first['states']) or 'no record'}; with space: status {second['status']}, "
                    f"{','.join(second['states']) or 'no record'}  {'; '.join(found) or 'good'}",
                    flush=True,
                )
    print(f"{bad} cases with faults", shlex.join(options.commands))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
