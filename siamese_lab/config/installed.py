"""Let Hydra find the configs of installed packages along with the lab's own configs.

A package names its folder of configs under the entry point group `siamese_lab.configs`, such as
`my_package = "my_package.configs"`. The folder has the same structure as the lab's `configs`, such as
`sampler/farthest.yaml`. `--help` lists these configs as well.
"""

import argparse
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from siamese_lab.errors import UserError

GROUP = "siamese_lab.configs"


class InstalledConfigs(SearchPathPlugin):
    """Appends the folders of installed packages, so that the lab's own configs come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append each folder once."""
        for folder in folders():
            search_path.append(provider=GROUP, path=f"file://{folder}")


def search_installed_packages() -> None:
    """Let Hydra search the configs of installed packages."""
    Plugins.instance().register(InstalledConfigs)


def folders() -> list[Path]:
    """Return the folders of configs that installed packages name.

    Raises:
        UserError: if an entry point does not name a folder inside a package.
    """
    found: dict[Path, None] = {}
    for entry in metadata.entry_points(group=GROUP):
        reason = "this folder does not exist"
        try:
            spec = find_spec(entry.value)  # imports the package around the folder
        except Exception as error:
            spec, reason = None, f"{type(error).__name__}: {error}"
        if spec is None or not spec.submodule_search_locations:
            named = f" of the package {entry.dist.name!r}" if entry.dist else ""
            raise UserError(
                f"The configs {entry.name!r}{named} must be in the folder {entry.value!r} of a package, "
                f"but it cannot be found ({reason}). "
                f"For example, 'my_package.configs' names the folder my_package/configs/."
            )
        found |= dict.fromkeys(Path(place).absolute() for place in spec.submodule_search_locations)
    return list(found)


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """Return the folders given by --config-dir."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path, action="append", default=[])
    given: list[Path] = parser.parse_known_args(arguments)[0].config_dir
    return given
