"""How a run was started and what its status is: ``run.json`` in its folder.

::

    {"status": "running" | "finished" | "failed" | "interrupted", "stage": "prior", "reason": null,
     "starts": [{"began": ..., "ended": ..., "command": ..., "overrides": [...], "git": {...}, "environment": {...}}]}

While a process trains, it holds a lock in the folder, and the system releases the lock however the process ends. So if
a run's status is ``running`` but its lock is free, it was killed.
"""

import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from spnn.errors import InputError
from spnn.saving import replacing

__all__ = ["Record", "environment", "read_status"]

_REPOSITORY = Path(__file__).resolve().parents[3]  # in a checkout


class Record(AbstractContextManager):
    """Keeps ``run.json`` while a run is trained: ``with Record(folder, overrides) as record: ...``.

    Arguments:
        folder: The run's folder.
        overrides: The overrides on the command line.
        interruptions: Errors that mean that the process was ended, not that the work failed.

    Raises:
        InputError: On entering, if another process is training in that folder.
    """

    def __init__(
        self, folder: str | Path, overrides: Sequence[str] = (), interruptions: tuple[type[BaseException], ...] = ()
    ):
        self.folder, self.overrides, self.interruptions = Path(folder), list(overrides), interruptions
        self._lock = FileLock(self.folder / ".lock", timeout=2)

    def claim(self) -> None:
        """Lock other processes out of the folder, and touch nothing else in it.

        Raises:
            InputError: If another process is training there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.folder} is being trained by another process: wait for it, or choose another `folder`."
            ) from None

    def release(self) -> None:
        """Let other processes in again."""
        self._lock.release()

    def __enter__(self) -> "Record":
        if not self._lock.is_locked:
            self.claim()
        self._content = _read(self.folder) or {"starts": []}
        start = {
            "began": _now(),
            "ended": None,
            "command": shlex.join([Path(sys.executable).name, *sys.argv]),
            "overrides": self.overrides,
            "git": self._git_state(len(self._content["starts"]) + 1),
            "environment": environment(),
        }
        self._content["starts"].append(start)
        self._write(status="running", stage=None, reason=None)
        return self

    def stage(self, name: str) -> None:
        """Note which stage is being trained."""
        self._write(stage=name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._content["starts"][-1]["ended"] = _now()
        try:
            if error is None:
                self._write(status="finished", stage=None)
            elif isinstance(error, Exception) and not isinstance(error, self.interruptions):
                message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                self._write(status="failed", reason=message)
            else:
                self._write(status="interrupted", reason="ended by a signal")
        except OSError:
            if error is None:
                raise  # otherwise show the error that ended the run, such as a full disk
        finally:
            self._lock.release()

    def _write(self, **changes: Any) -> None:
        self._content = {**changes, **{key: value for key, value in self._content.items() if key not in changes}}
        with replacing(self.folder / "run.json") as unfinished:
            unfinished.write_text(json.dumps(self._content, indent=2) + "\n", encoding="utf-8")

    def _git_state(self, number: int) -> dict[str, Any] | None:
        """Commit and branch of the code; uncommitted changes go to ``changes_<number>.diff``."""
        if _git("rev-parse", "--show-toplevel") != str(_REPOSITORY):  # none, or one that a virtual environment is in
            return None
        commit = _git("rev-parse", "HEAD")
        if commit is None:
            return None
        diff, untracked = _git("diff", "HEAD"), _git("ls-files", "--others", "--exclude-standard")
        if diff:
            (self.folder / f"changes_{number}.diff").write_text(f"{diff}\n", encoding="utf-8")
        return {
            "commit": commit,
            "branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
            "changes": f"changes_{number}.diff" if diff else None,
            "untracked": untracked.splitlines() if untracked else [],
        }


def read_status(folder: str | Path) -> dict[str, Any]:
    """The content of ``run.json``, with status ``interrupted`` if it says ``running`` but no process holds the lock;
    empty if there is no file."""
    content = _read(Path(folder))
    if content.get("status") == "running" and not _is_locked(Path(folder)):
        content |= {"status": "interrupted", "reason": "the process was killed"}
    return content


def _is_locked(folder: Path) -> bool:
    lock = FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except OSError:  # the lock is taken, or the folder is somebody else's: believe the file
        return True
    lock.release()
    return False


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _git(*words: str) -> str | None:
    """The output of git in the repository of this code; None if there is none."""
    try:
        done = subprocess.run(["git", *words], cwd=_REPOSITORY, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def environment() -> dict[str, Any]:
    """The machine and the versions of packages."""
    import torch  # here, because listing runs reads records without it

    cuda = torch.cuda.is_available()
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "devices": [torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())] if cuda else [],
        "job": {key: os.environ[key] for key in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID") if key in os.environ},
        "python": platform.python_version(),
        "packages": _versions(),
    }


def _versions() -> dict[str, str]:
    """The versions of this package and of those it needs."""
    found = {}
    try:
        needed = requires("spnn") or []
    except PackageNotFoundError:  # it is on PYTHONPATH but not installed
        needed = ["torch", "lightning", "hydra-core"]
    for requirement in ("spnn", *needed):
        if "extra ==" not in requirement:
            name = re.split(r"[^\w-]", requirement, maxsplit=1)[0]
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    return found
