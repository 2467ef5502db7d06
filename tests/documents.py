"""What README.md and the pages of docs/ show: their code blocks, commands and links.

A page of docs/ is run from top to bottom in one folder, by what the language and title of a block say:

    ```python                   is run
    ```python title="file.py"   becomes that file, as does any block with a title
    ```bash                     each line is run, with & until the page ends; a training is made small
    ```text                     what the block above it printed; without its figures, if it trained
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', flags=re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    title: str
    text: str


def blocks(path: Path) -> list[Block]:
    """The code blocks of a document, in order."""
    return [Block(*found) for found in FENCE.findall(path.read_text(encoding="utf-8"))]


def lines(block: Block) -> list[str]:
    """The commands of a shell block; a backslash at its end continues a line."""
    return [line for line in block.text.replace("\\\n", " ").splitlines() if line]


def options_of(command: str) -> list[str] | None:
    """The options that a shell line hands to our command line."""
    words = shlex.split(command)
    program = [index for index, word in enumerate(words) if word in ("recbole-nif", "run_recbole_nif.py")]
    return words[program[-1] + 1 :] if program else None


def run_python(text: str, folder: Path) -> str:
    """What a program prints, run in ``folder`` by an interpreter of its own; it must end well."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    (folder / "snippet.py").write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "snippet.py"], **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def leads_somewhere(link: str, document: Path) -> bool:
    """Whether a relative link names a file that is there and, after #, a heading of it."""
    path, _, anchor = link.partition("#")
    file = document.parent / path if path else document
    if not anchor:
        return file.exists()
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def dead_links(document: Path) -> list[str]:
    """The relative links of a document that lead nowhere."""
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link and not leads_somewhere(link, document)]
