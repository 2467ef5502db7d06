"""``recbole-nif shards``: a dataset as Parquet shards, for training that streams them."""

from collections.abc import Sequence
from pathlib import Path

from recbole_nif.command_parser import CommandParser
from recbole_nif.config import NIFConfig
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.stream.write import write_shards
from recbole_nif.errors import UserError

READER = "LR"  # a config names a model; shards hold what any model reads

HELP = """\
usage: recbole-nif shards DATASET --to FOLDER [--shards N] [--key=value ...]

Writes the events of a dataset, with its split, as Parquet files of whole users. A run with
--stream_shards=FOLDER reads stream_buffer of them at a time and never holds the whole log.

  DATASET         as in --dataset, in front of all options
  --to FOLDER     new or empty
  --shards N      how many files (default 16)
  --KEY=VALUE     any key of the configuration; those that decide on labels, fields, scenes and split must be
                  the same in runs
"""


def main(argv: Sequence[str]) -> int:
    """Writes the shards that ``argv`` asks for; returns the exit code.

    Raises:
        UserError: a mistake in the options, the configuration or the data.
    """
    argv = list(argv)
    parser = CommandParser("shards")
    parser.add_argument("--to", type=Path)
    parser.add_argument("--shards", type=int, default=16)
    dataset = argv.pop(0) if argv and not argv[0].startswith("-") else None
    options, settings = parser.parse_known_args(argv)
    if options.help:
        print(HELP)
        return 0
    if dataset is None or options.to is None:
        raise UserError("shards: name a dataset, and with --to a folder for its shards.")
    views = CTRDataset(NIFConfig(READER, dataset, argv=settings)).build()
    manifest = write_shards(views, options.to, options.shards)
    events = sum(shard.events for shard in manifest.shards)
    users, shards = manifest.n_users - 1, len(manifest.shards)
    print(f"{events:,} events of {users:,} users in {shards} shards: {options.to}")
    return 0
