"""Where the files of a data set are: in the user's own folder, which is only read, or downloaded into the cache.

Both are laid out as torchvision lays them out, `ROOT/omniglot-py/images_background.zip`.
"""

from pathlib import Path

from siamese_lab.data.io.download import Remote, download
from siamese_lab.data.io.messages import announce
from siamese_lab.errors import ResourceError

DOWNLOADS = "downloads"


class Sources:
    """The files of one data set.

    Args:
        folder: of the set, under the user's root and under the downloads.
        root: the user's own copies; None if there are none.
        cache: where downloads go.
    """

    def __init__(self, folder: str, root: str | Path | None, cache: Path) -> None:
        self.folder = folder
        self.root = Path(root) if root is not None else None
        self.downloads = cache / DOWNLOADS / folder

    def find(self, *names: str) -> Path | None:
        """The first of these files or folders that there is, the user's own before the downloaded.

        Raises:
            UserError: if the user's root is not there.
        """
        if self.root is not None and not self.root.is_dir():
            raise ResourceError(
                f"paths.data (or SIAMESE_LAB_DATA) is {self.root}, but there is no such folder. It should hold "
                f"{self.folder}/{names[-1]}, or be left out to have it downloaded."
            )
        paths = [self.root / self.folder] if self.root is not None else []
        for path in (*paths, self.downloads):
            for name in names:
                if (path / name).exists():
                    return path / name
        return None

    def find_or_download(self, remote: Remote, *names: str) -> Path:
        """The first of these that there is, `remote`'s own name the last of them, or else the download.

        Raises:
            UserError: if it cannot be downloaded.
        """
        found = self.find(*names, remote.name)
        if found is None:
            missing = "" if self.root is None else f"{self.root} holds no {self.folder}/{remote.name}: "
            announce(f"{missing}downloading {remote.name} into {self.downloads}.")
            found = download(remote, self.downloads)
        return found

    def absent(self, name: str) -> str:
        """That there is no such file, and where it was looked for."""
        return f"{self.folder}/{name} is neither in paths.data ({self.root or 'not set'}) nor downloaded yet."

    def origin(self, path: Path) -> str:
        """Whose a file is, with its folder."""
        return f"downloaded into {self.downloads}" if self.downloads in path.parents else f"{path.parent}"


def packed(name: str) -> tuple[str, ...]:
    """A folder's name, and the names of archives it may be packed in."""
    return (name, *(f"{name}{suffix}" for suffix in (".zip", ".tgz", ".tar.gz", ".tar")))
