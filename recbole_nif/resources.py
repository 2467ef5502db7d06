"""Where the YAML files of this package and of RecBole lie, found by package location.

In a wheel ``props/`` and ``dataset_configs/`` are package data; in a checkout they lie beside the
package. The current folder never matters.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def props_dir() -> Path:
    """Folder of ``overall.yaml`` and of ``model/<Model>.yaml``."""
    return _shipped("props")


def dataset_configs_dir() -> Path:
    """Folder of ``<dataset>.yaml``."""
    return _shipped("dataset_configs")


@cache
def recbole_properties_dir() -> Path:
    """RecBole's own ``properties`` folder; RecBole itself is not imported."""
    return Path(find_spec("recbole").origin).parent / "properties"


def _shipped(name: str) -> Path:
    packaged = PACKAGE / name
    return packaged if packaged.is_dir() else PACKAGE.parent / name
