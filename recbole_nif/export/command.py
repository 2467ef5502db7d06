"""``recbole-nif export --run FOLDER --to FOLDER``: a run as a folder that answers without its dataset."""

import argparse
from collections.abc import Sequence

from recbole_nif.command_parser import CommandParser
from recbole_nif.errors import UserError
from recbole_nif.export.write import export_run

HELP = """\
usage: recbole-nif export --run FOLDER --to FOLDER [--without_log] [--onnx] [--key=value ...]

A trained model with all that it needs to score: weights, settings, vocabularies, features of users and items,
their events, and a model card. Scorer.load and recbole-nif score, topk and serve take the folder in place of
the run's; the dataset's files are not needed any more. Nothing in it is pickled.

  --run FOLDER     folder of a run, with checkpoints/finetune-best.pt
  --to FOLDER      a new folder; it is written whole or not at all
  --without_log    leaves the events of users out: requests must then give histories
  --onnx           adds the model as two ONNX graphs, one for users, one for their candidates; a model that
                   torch.export cannot follow is refused; pip install 'recbole-nif[onnx]'
  --KEY=VALUE      any key of the configuration, such as --data_path=FOLDER
"""


def main(argv: Sequence[str]) -> int:
    """Exports what ``argv`` names.

    Raises:
        UserError: a mistake in the options, or one of ``export_run``.
    """
    options, settings = parse(argv)
    if options.help:
        print(HELP)
        return 0
    with_log = not options.without_log
    print(export_run(options.run, options.to, with_log=with_log, onnx=options.onnx, argv=settings))
    return 0


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and those that belong to the configuration."""
    parser = CommandParser("export")
    parser.add_argument("--run")
    parser.add_argument("--to")
    parser.add_argument("--without_log", action="store_true")
    parser.add_argument("--onnx", action="store_true")
    options, settings = parser.parse_known_args(list(argv))
    missing = [name for name in ("run", "to") if getattr(options, name) is None]
    if missing and not options.help:
        raise UserError(
            f"export needs --{' and --'.join(missing)}; recbole-nif export --help shows its options."
        )
    return options, settings
