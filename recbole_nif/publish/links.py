"""Where the links of a report lead: to the folder of a run or, where only a copy is left, to its record."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from recbole_nif.publish.runs import Run


class Links:
    """Links of a file in ``folder``, relative to it; without a folder nothing is linked.

    Args:
        copies: records that were collected beside the report; they are linked instead of the runs.
    """

    def __init__(self, folder: Path | None = None, copies: Mapping[Run, Path] | None = None):
        self.folder, self.copies = folder, copies or {}

    def of(self, run: Run) -> str | None:
        """The run's link."""
        if run in self.copies:
            return self.file(self.copies[run])
        if run.file is None:
            return None
        return self.file(run.file.parent) if run.is_folder else self.file(run.file)

    def file(self, path: Path) -> str | None:
        """The link of any file."""
        if self.folder is None:
            return None
        try:
            relative = Path(os.path.relpath(path, self.folder))
        except ValueError:  # another drive of Windows
            return path.resolve().as_uri()
        return quote(relative.as_posix())
