"""Find the files of a data set: in the user's own folder, which is only read, or in the downloads in the cache.

Both folders have torchvision's layout, `ROOT/omniglot-py/images_background.zip`.
"""

from pathlib import Path

from siamese_lab.data.io.download import Remote, describe_wrong_checksum, download
from siamese_lab.data.io.messages import announce, readable
from siamese_lab.errors import ResourceError

DOWNLOADS = "downloads"


class Sources:
    """The files of one data set.

    Args:
        folder: folder of the set, relative to the user's root and to the downloads; "" for these folders themselves.
        root: folder of the user's own copies; None if there are none.
        cache: folder that holds the downloads.
    """

    def __init__(self, folder: str, root: str | Path | None, cache: Path) -> None:
        self.folder = folder
        self.root = Path(root) if root is not None else None
        self.downloads = cache / DOWNLOADS / folder

    def find(self, *names: str) -> Path | None:
        """Return the first of these files or folders that exists. The user's own copies come before downloads.

        Raises:
            UserError: if the user's root does not exist.
        """
        if self.root is not None and not _exists(self.root):
            raise ResourceError(
                f"paths.data (or SIAMESE_LAB_DATA) is {self.root}, but there is no such folder. It should hold "
                f"{self._place(names[-1])}. Leave paths.data unset to download the files."
            )
        paths = [self.root / self.folder] if self.root is not None else []
        for path in (*paths, self.downloads):
            for name in names:
                if _exists(path / name):
                    return path / name
        return None

    def find_or_download(self, remote: Remote, *names: str) -> Path:
        """Return the first of these names, then of `remote.name`, that exists. Otherwise download `remote`.

        Raises:
            UserError: if the download fails.
        """
        found = self.find(*names, remote.name)
        if found is None:
            missing = "" if self.root is None else f"{self.root} holds no {self._place(remote.name)}: "
            announce(f"{missing}downloading {remote.name} into {self.downloads}.")
            found = download(remote, self.downloads)
        return found

    def check_download(self, remote: Remote, path: Path) -> list[str]:
        """Return a sentence if `path` was downloaded as `remote`, but has another checksum now. Other files pass.

        Raises:
            UserError: if the file cannot be read.
        """
        if path != self.downloads / remote.name:
            return []
        with readable(path):
            wrong = describe_wrong_checksum(path, remote.digest)
        return [] if wrong is None else [f"{path} has changed since it was downloaded ({wrong}). Delete it."]

    def absent(self, name: str) -> str:
        """Return a sentence that says that a file is missing and where it was searched."""
        return f"{self._place(name)} is neither in paths.data ({self.root or 'not set'}) nor downloaded yet."

    def folders(self, name: str) -> list[Path]:
        """Return the folders of the set that exist: the user's own one, then the downloads.

        Args:
            name: a file that they should hold, for the message.

        Raises:
            UserError: if the user's root does not exist.
        """
        self.find(name)  # raises
        found = [self.root / self.folder] if self.root is not None else []
        return [path for path in (*found, self.downloads) if _exists(path)]

    def _place(self, name: str) -> str:
        """Return the path of a file relative to the user's root."""
        return f"{self.folder}/{name}" if self.folder else name

    def origin(self, path: Path) -> str:
        """Return the origin of a file: downloaded, or the folder of the user's copy."""
        return f"downloaded into {self.downloads}" if self.downloads in path.parents else f"{path.parent}"


def _exists(path: Path) -> bool:
    """Return whether a file or folder exists.

    Raises:
        UserError: if the folder that may hold it must not be read.
    """
    with readable(path.parent):
        return path.exists()


def packed(name: str) -> tuple[str, ...]:
    """Return the name of a folder and the names of archives that may contain it."""
    return (name, *(f"{name}{suffix}" for suffix in (".zip", ".tgz", ".tar.gz", ".tar")))
