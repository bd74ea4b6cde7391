"""Describe the environment of a run: package versions, commit and hardware."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # commands also print versions without loading torch
    import torch

PACKAGES = (
    "siamese_lab",
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "numpy",
    "pillow",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}


def commit() -> str | None:
    """Return the git commit of the lab's source, with suffix -dirty if files changed; None outside a checkout."""
    package = Path(__file__).parent
    if _git(package, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        ended = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ended.stdout.strip()


def hardware(device: "torch.device", precision: str, processes: int = 1) -> dict[str, Any]:
    """Describe the device, precision and processes of a training run.

    Args:
        device: the device of the model.
        precision: Lightning's name of the precision, such as "bf16-mixed".
        processes: the number of processes that train together; each has the same number of threads.
    """
    import torch  # see above

    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "accelerator": device.type,
        "precision": precision,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def processor() -> str:
    """Return the name of the processor if the system provides it, otherwise its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
