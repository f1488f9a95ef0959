"""Files of weights from a folder or from the hub, and one clear error for everything that can be wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from safetensors.torch import load_file
from torch import Tensor

from spnn.errors import InputError

__all__ = ["clear_errors", "find_file", "read_safetensors"]


@contextmanager
def clear_errors(source: object, what: str = "a network") -> Iterator[None]:
    """Turn any error inside the block, where libraries read files or ask the hub, into one that names ``source``.

    Raises:
        InputError: If anything inside the block fails.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"can't load {what} from {source}: {type(error).__name__}: {error}") from error


def find_file(folder_or_repository: str | Path, name: str, **options: Any) -> Path:
    """The path of a file in a folder or in a repository on the hub; downloaded if it is not in the hub's cache.

    Arguments:
        folder_or_repository: A folder, or ``owner/name``.
        name: The file's name.
        **options: See :func:`huggingface_hub.hf_hub_download`.
    """
    if Path(folder_or_repository).is_dir():
        return Path(folder_or_repository) / name
    return Path(hf_hub_download(str(folder_or_repository), name, **options))


def read_safetensors(folder_or_repository: str | Path, **options: Any) -> dict[str, Tensor]:
    """The tensors that ``save_pretrained`` wrote; arguments are those of :func:`find_file`."""
    return load_file(find_file(folder_or_repository, SAFETENSORS_SINGLE_FILE, **options))
