"""Makes the configuration reference from the comments in ``props/``: the only place that describes a key.

mkdocs calls ``on_page_markdown``; the rest knows nothing of mkdocs. A line of those files reads
``key: default  # (kind) What it does.``, a comment on a line of its own begins a section, and the comment at
the head of a file introduces it.
"""

import html
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TABLES = "<!-- tables of all keys -->"
FILE = re.compile(r"<!-- file (\S+) -->")
KINDS = r"(?:bool|int|float|str|list|dict)(?: (?:of|or) \w+)*"
LINE = re.compile(
    rf"(?P<indent> *)(?P<key>\w+):(?: +(?P<default>.*?))?(?: +# *(?:\((?P<kind>{KINDS})\) *)?(?P<text>.*))?"
)
EXPECTED = "is not of the form `key: default  # (kind) text`."


def on_page_markdown(markdown: str, **_) -> str:
    """Puts tables and files where a page asks for them."""
    markdown = FILE.sub(lambda found: _listing(found[1]), markdown)
    return markdown.replace(TABLES, reference()) if TABLES in markdown else markdown


def reference() -> str:
    """A heading and tables for each file with defaults, as Markdown."""
    files = [ROOT / "props" / "overall.yaml", *sorted((ROOT / "props" / "model").glob("*.yaml"))]
    return "\n\n".join(chapter(path) for path in files)


def chapter(path: Path) -> str:
    """What one file says: its introduction, then a table per section.

    Raises:
        ValueError: the file has a key that its lines do not show.
    """
    name = "All runs" if path.stem == "overall" else path.stem
    parts = [f"## {name}", f"From `{path.relative_to(ROOT).as_posix()}`."]
    head, lines = _head(path.read_text(encoding="utf-8").splitlines())
    parts += [_escaped(head)] if head else []
    keys, table, parent = [], [], ""
    for line in filter(str.strip, lines):
        if line.startswith("#"):
            parts, table = [*parts, *_table(table), f"### {_escaped(line.lstrip('# '))}"], []
            continue
        if not (found := LINE.fullmatch(line)):
            raise ValueError(f"{path}: {line.strip()!r} {EXPECTED}")
        key = f"{parent}.{found['key']}" if found["indent"] else found["key"]
        if not found["default"]:
            parent = found["key"]
            continue
        keys.append(key)
        kind, text = found["kind"] or "", _escaped(found["text"] or "")
        table.append((f"`{key}`", f"`{found['default']}`", kind, text))
    if set(keys) != set(_leaves(yaml.safe_load(path.read_text(encoding="utf-8")))):
        raise ValueError(f"{path}: a key is missing in its table, since its line {EXPECTED}")
    return "\n\n".join([*parts, *_table(table)])


def _head(lines: list[str]) -> tuple[str, list[str]]:
    """The comment that a file begins with, and the lines below it."""
    size = next(place for place, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:size]), lines[size:]


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    head = ["| key | default | kind | meaning |", "|---|---|---|---|"]
    return ["\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])]


def _listing(name: str) -> str:
    return f'```yaml title="{name}"\n{(ROOT / name).read_text(encoding="utf-8")}```'


def _escaped(text: str) -> str:
    """Plain text as Markdown, in a table too."""
    return re.sub(r"([\\|*_\[\]`])", r"\\\1", html.escape(text, quote=False))


def _leaves(values: dict, prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
