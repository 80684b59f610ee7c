"""Settings that are secrets, from files: environment variables are easily seen by others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from serve_app.embedded.errors import StartError

#: Names the folder; each file in it is named like a variable, and holds its value.
_FOLDER: Final = "RAYQUIZ_SECRETS_DIR"


def read_secrets() -> None:
    """Take what the files of ``RAYQUIZ_SECRETS_DIR`` say, where the environment does not say it itself.

    Raises:
        StartError: the folder or one of its files cannot be read.
    """
    folder = os.environ.get(_FOLDER)
    if not folder:
        return
    try:
        for path in Path(folder).iterdir():
            if path.name.startswith("RAYQUIZ_") and path.is_file():
                os.environ.setdefault(path.name, path.read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"the secrets in {folder} cannot be read: {error}") from error
