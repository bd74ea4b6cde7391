"""Say in one sentence that a package that the lab requires is missing or broken."""

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIRED: Mapping[str, str] = {
    "torch": "torch torchvision",
    "torchvision": "torch torchvision",
    "lightning": "lightning",
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "torchmetrics": "torchmetrics",
    "tensorboard": "tensorboard",
    "sklearn": "scikit-learn",
    "scipy": "scipy",
    "numpy": "numpy",
    "PIL": "pillow",
    "platformdirs": "platformdirs",
    "rich": "rich",
    "pooch": "pooch",
    "requests": "requests",
    "filelock": "filelock",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "tabulate": "tabulate",
    "jinja2": "jinja2",
}
"""Names that pip installs, by the module that the lab imports."""


def unusable_package(error: ImportError | OSError) -> str | None:
    """Return the message about a required package that is missing or broken; None for any other error."""
    name = str(getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and name in {*REQUIRED, "siamese_lab"}:
        try:
            version("siamese_lab")
        except PackageNotFoundError:
            folder = Path(__file__).parents[2]
            return f"siamese_lab is not installed for {sys.executable}. Install it: python -m pip install -e {folder}"
        return (
            f"siamese_lab needs {name}, which is not installed for {sys.executable}. "
            f"Install it: python -m pip install {REQUIRED[name]}"
        )
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == "<module>" and trace.tb_frame.f_globals.get("__name__") == "torch":
            return (
                f"torch is installed for {sys.executable}, but it cannot be imported: {error}. "
                "Install it again: python -m pip install --force-reinstall torch torchvision"
            )
        trace = trace.tb_next
    return None
