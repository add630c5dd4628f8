"""Repositories of a model hub, by the library huggingface_hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from toolkit.errors import RunError, ToolkitError

PREFIX = 'hf:'
# A new repository holds this file before anything is committed.
_INITIAL = ('.gitattributes',)
_Value = TypeVar('_Value')


@dataclass(frozen=True)
class HubAddress:
    """Repository of a model hub.

    Attributes:
        repository: OWNER/NAME.
        revision: branch, tag or commit; None for the newest.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return PREFIX + self.repository + (f'@{self.revision}' if self.revision else '')


def parse_address(text: str) -> HubAddress | None:
    """Parses `hf:OWNER/NAME[@REVISION]`; None for any other text, which is a folder.

    Raises:
        ToolkitError: it begins so, and is none.
    """
    if not text.startswith(PREFIX):
        return None
    found = re.fullmatch(r'hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w./-]+))?', text)
    if found is None:
        raise ToolkitError(f'{text} is no repository of a hub; expected hf:OWNER/NAME[@REVISION]')
    return HubAddress(*found.groups())


def upload(
    folder: Path,
    address: HubAddress,
    *,
    public: bool,
    overwrite: bool,
    replaced: Sequence[str],
) -> str:
    """Commits a folder to a repository, which is made if there is none, in one commit.

    Args:
        folder: of the files.
        address: of the repository.
        public: a new repository can be seen by everybody.
        overwrite: a repository that holds files may be changed.
        replaced: patterns of files of an earlier commit that are removed.
    Returns:
        Address of the repository in the web.
    Raises:
        ToolkitError: huggingface_hub is not installed, or the repository holds files.
        RunError: the hub cannot be reached, or refuses.
    """
    if address.revision is not None:
        raise ToolkitError(
            f'{address}: a push goes to the main branch; leave out @{address.revision}'
        )
    library = _import_library()
    api, name = library.HfApi(), address.repository

    def list_held() -> list[str]:
        if not api.repo_exists(name):
            return []
        return [file for file in api.list_repo_files(name) if file not in _INITIAL]

    held = _call(address, list_held)
    if held and not overwrite:
        raise ToolkitError(
            f'{address} holds {len(held)} files already; give --overwrite to commit to it (its '
            'earlier commits stay), or choose another name'
        )

    def commit() -> str:
        url = api.create_repo(name, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            commit_message='Push a run of Ablakit',
            delete_patterns=list(replaced),
        )
        return str(url)

    return _call(address, commit)


def open_repository(address: HubAddress, folder: Path) -> Callable[[str], Path]:
    """Opens a repository at one commit.

    Args:
        address: of the repository.
        folder: that downloaded files are written to.
    Returns:
        A function from the name of a file to its downloaded copy.
    Raises:
        ToolkitError: huggingface_hub is not installed.
        RunError: the hub cannot be reached, or has no such repository or file.
    """
    library = _import_library()
    # Files of two commits do not belong together.
    commit = _call(
        address,
        lambda: library.HfApi().model_info(address.repository, revision=address.revision).sha,
    )

    def fetch(name: str) -> Path:
        return Path(
            _call(
                address,
                lambda: library.hf_hub_download(
                    address.repository, name, revision=commit, local_dir=folder
                ),
            )
        )

    return fetch


def _import_library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ToolkitError(
            'hf: addresses need huggingface_hub; install it: pip install "ablakit[hub]"'
        ) from error
    return huggingface_hub


def _call(address: HubAddress, do: Callable[[], _Value]) -> _Value:
    try:
        return do()
    except Exception as error:  # what a network and a hub can raise cannot be listed
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0][:300] if lines else ''
        raise RunError(
            f'{address}: {type(error).__name__}: {reason}; look at the name, your network, and '
            'your login (`hf auth login`, or HF_TOKEN)'
        ) from error
