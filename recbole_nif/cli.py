"""The command line: ``recbole-nif`` and ``run_recbole_nif.py``."""

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from recbole_nif import __version__
from recbole_nif.errors import UserError

HELP = """\
usage: recbole-nif --model=MODEL --dataset=DATASET [--config_files "a.yaml b.yaml"] [--key=value ...]
       recbole-nif COMMAND ...

Trains a click model on a dataset, evaluates it and writes a run folder.

  -m, --model MODEL        AMEN, GenCI, NIFDIN (or DIN), NIFDIEN (or DIEN), recbole.DIN, DeepFM, ...
                           (--list_models), or your own class: my_package.my_module:MyModel
  -d, --dataset DATASET    ml-100k (comes along), ml-1m, ..., or a folder <data_path>/<name> with <name>.inter
  --config_files "A B"     YAML files, later ones win; they may name model and dataset too
  --KEY=VALUE              any key of props/overall.yaml, of the model's or the dataset's YAML or of RecBole;
                           nested keys by dots: --eval_args.order=RO
  --resume RUN_FOLDER      go on with a run that was stopped or killed
  --nproc N                N processes of this machine train together, on a GPU each or on the CPU; several
                           machines: torchrun ... run_recbole_nif.py --model=MODEL --dataset=DATASET
  --sweep FILE             many runs: a YAML file, or a shipped one (quick, genci_table3, amen_ablation, ...);
                           started again it goes on, started several times the processes divide the runs
       --dry_run           only lists the runs
       --storage PLACE     account of the runs: a file (default: in the sweep's folder) or an optuna URL
       --retry_failed      do again what failed with an error
       --save_tuned[=DIR]  winners of searches go to DIR too (default: props/tuned, where runs find them)
  --list_models            names of all models
  --version                version of recbole_nif
  -h, --help               this text

commands:
  audit DATASET            what ties, cold items and trivial baselines make of an evaluation on a dataset
  audit --run FOLDER       whether a trained model sees its own label or later events
  report RUN...            tables of runs or of a whole sweep; with --out a page with figures too
  analyze RUN...           metrics by groups of rows, calibration, pictures of what models learned
  recall --run FOLDER      how often what a model generates holds the next click, beside simple rankings
  explain --run FOLDER     why a model scored a user and an item as it did
  score --run FOLDER       click probabilities of the pairs of users and items in a file
  topk --run FOLDER        the items that users would rather click
  export --run FOLDER      a trained model as a folder that needs no dataset
  serve --run FOLDER       a trained model behind HTTP
  shards DATASET           a dataset as Parquet files, for runs with --stream_shards that never hold all of it

Lowest to highest: RecBole's defaults, props/overall.yaml, the model's YAML, the dataset's YAML, tuned values,
config files, command line.

examples:
  recbole-nif --model=AMEN --dataset=ml-100k
  recbole-nif --model=DeepFM --dataset=ml-1m --split_preset=global_time --learning_rate=5e-4
"""


COMMANDS = {  # name -> module with ``main(argv) -> exit code``
    "analyze": "recbole_nif.analysis.command",
    "audit": "recbole_nif.audit.command",
    "recall": "recbole_nif.analysis.recall_command",
    "report": "recbole_nif.publish.command",
    "explain": "recbole_nif.analysis.explain_command",
    "score": "recbole_nif.inference.score_command",
    "topk": "recbole_nif.inference.topk_command",
    "export": "recbole_nif.export.command",
    "serve": "recbole_nif.serving.command",
    "shards": "recbole_nif.shards_command",
}


OF_A_PLACE = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
PIPE_CLOSED = 141  # as a shell reports a program that SIGPIPE has ended


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for.

    Args:
        argv: options without the program's name; None = those of this process.

    Returns:
        the exit code: 0, 2 after a user's mistake (one sentence on stderr), 130 after Ctrl-C, 141 where
        nobody reads the output any more; a command may have codes of its own, such as 1 of ``audit`` for a
        leak.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has read enough
        _drop_output()
        return PIPE_CLOSED
    except OSError as error:
        if error.filename is not None and isinstance(error, OF_A_PLACE):
            print(
                f"error: {error.filename}: {error.strerror}; check what is there and who may read and "
                "write it.",
                file=sys.stderr,
            )
            return 2
        if error.errno not in DISK_FULL:
            raise
        if error.filename is None:  # it was the output itself
            _drop_output()
        place = error.filename or "the output"
        print(f"error: {place} cannot be written ({error.strerror}): free some space.", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "Interrupted before the run began.", file=sys.stderr)
        return 130


def _drop_output() -> None:
    """What is left in the buffer of the standard output goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(argv: list[str]) -> int:
    # RecBole's calls of torch and pandas that will change some day: nothing a user can act on.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    if argv and argv[0] in COMMANDS:
        return importlib.import_module(COMMANDS[argv[0]]).main(argv[1:])
    if not argv or "-h" in argv or "--help" in argv:
        print(HELP)
    elif "--version" in argv:
        print(f"recbole_nif {__version__}")
    elif any(option.partition("=")[0] == "--sweep" for option in argv):
        return importlib.import_module("recbole_nif.sweep.command").main(argv)
    elif "--list_models" in argv:
        from recbole_nif.registry import SHORT_NAMES, model_names

        print("\n".join(model_names()))
        print(f"short names: {', '.join(f'{short} = {name}' for short, name in SHORT_NAMES.items())}")
    else:
        count, argv = _taken("--nproc", argv)
        if count is not None:
            from recbole_nif.launch import launch

            return launch(count, argv)
        from recbole_nif.quick_start import run_recbole_nif

        run_recbole_nif(argv=argv)
    return 0


def _taken(option: str, argv: list[str]) -> tuple[str | None, list[str]]:
    """The value of an option, None where it is not given, and the others."""
    for place, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == option:
            after = place + 1 if equals else place + 2
            value = value if equals else "".join(argv[place + 1 : after])
            return value, [*argv[:place], *argv[after:]]
    return None, argv


if __name__ == "__main__":
    sys.exit(main())
