"""Find a data set's parts wherever a user has unpacked them."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from spnn.errors import InputError, some_of

__all__ = ["Search"]

_DEPTH = 4  # levels of folders below the root that are searched
_ARCHIVES = (".zip", ".7z", ".001", ".rar", ".tar", ".gz", ".tgz")


class Search:
    """The files below a folder, listed once; files nearer to the top are found first.

    Arguments:
        root: The folder.

    Raises:
        InputError: If there is no such folder.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise InputError(f"data.root={root} is not a folder (looked from {Path.cwd()}).")
        found = {}
        for path, folders, files in os.walk(self.root, followlinks=True):
            found[Path(path)] = set(files)
            deepest = len(Path(path).parts) - len(self.root.parts) == _DEPTH
            folders[:] = [] if deepest else sorted(set(folders) - {"__MACOSX"})
        self.files: dict[Path, set[str]] = {path: found[path] for path in sorted(found, key=lambda p: len(p.parts))}

    def file(self, *names: str) -> Path | None:
        """Return the nearest file with one of the names; None if there is none.

        Raises:
            InputError: If several are equally near.
        """
        return self._nearest(folder / name for folder, files in self.files.items() for name in names if name in files)

    def folder_of(self, names: Sequence[str]) -> Path | None:
        """Return the folder that holds the most of the named files; the names may include folders. In a tie, return the
        nearest; None if no folder holds any.

        Raises:
            InputError: If several are equally near.
        """
        by_parent: dict[str, set[str]] = {}
        for name in names:
            parent, _, last = name.rpartition("/")
            by_parent.setdefault(parent, set()).add(last)
        held = {
            folder: sum(len(last & self.files.get(folder / parent, set())) for parent, last in by_parent.items())
            for folder in self.files
        }
        most = max(held.values(), default=0)
        alike = [folder for folder, count in held.items() if count == most > 0]
        bare = {name for name in names if "/" not in name}
        shared = [self.files[folder] & bare for folder in alike]
        if len(alike) > 1 and sum(map(len, shared)) == len(set().union(*shared)):  # each holds a part
            alike = alike[:1]
        return self._nearest(alike)

    def resolve(self, folder: Path, names: Sequence[str]) -> list[str]:
        """Return the files' paths relative to a folder. Tables may leave out folders, so if a file isn't there, the
        only file of that name (in any case) below the root is taken instead. If there isn't just one, the name stays
        unchanged."""
        everywhere: dict[str, list[Path]] = {}
        for place, files in self.files.items():
            for file in files:
                everywhere.setdefault(file.casefold(), []).append(place / file)
        found = []
        for name in names:
            parent, _, last = name.rpartition("/")
            if last not in self.files.get(folder / parent, ()):
                ending = f"/{name}".casefold()
                same = [path for path in everywhere.get(last.casefold(), []) if f"{path}".casefold().endswith(ending)]
                if len(same) == 1:
                    name = os.path.relpath(same[0], folder)
            found.append(name)
        return found

    def describe(self) -> str:
        """Describe what was found, in a few lines."""
        lines = []
        for folder, files in list(self.files.items())[:8]:
            lines.append(f"  {folder}: {f'{len(files)} files ({some_of(sorted(files))})' if files else 'no files'}")
        if len(self.files) > 8:
            lines.append(f"  and {len(self.files) - 8} more folders")
        archives = [name for files in self.files.values() for name in files if name.lower().endswith(_ARCHIVES)]
        if archives:
            lines.append(f"  Archives are not looked into; unpack {', '.join(sorted(archives)[:3])}.")
        return "\n".join(lines)

    def _nearest(self, paths: Iterable[Path]) -> Path | None:
        paths = list(paths)
        nearest = [path for path in paths if len(path.parts) == len(paths[0].parts)]
        if len(nearest) > 1:  # CelebA's original images have the same names as the aligned ones
            nearest = [path for path in nearest if "align" in path.name] or nearest
        if len(nearest) > 1:
            raise InputError(
                f"there is more than one candidate below {self.root}: {', '.join(map(str, nearest[:4]))}. Name the "
                "one to take by a deeper data.root, or remove the others."
            )
        return nearest[0] if nearest else None
