"""A whole run, from configuration to result.json."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole.utils import init_seed

from recbole_nif import compat
from recbole_nif.config import NIFConfig
from recbole_nif.data.views import View, build_views, loader_of_view
from recbole_nif.publish.tables import result_table
from recbole_nif.results import METRICS, read_result, result_record
from recbole_nif.run_folder import RunFolder
from recbole_nif.semantic_id.build import write_ids
from recbole_nif.trainer.stages import SMALLER_IS_BETTER
from recbole_nif.trainer.trainer import NIFTrainer

logger = logging.getLogger(__name__)


def run_recbole_nif(
    model: str | type | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
    saved: bool = True,
    callback: Callable[[int, float], None] | None = None,
) -> dict:
    """Trains and tests a model, all stages, and writes a run folder.

    With the key ``resume`` it goes on in the folder of a run that was stopped or killed, to the same numbers;
    of a run that is complete it shows the result.

    Args:
        model, dataset, config_file_list, config_dict, argv: as in ``NIFConfig``.
        saved: whether to write checkpoints.
        callback: called with (epoch, validation score) after each validation of the last stage; what it
            raises ends the run.

    Returns:
        RecBole's four keys (``best_valid_score``, ``valid_score_bigger``, ``best_valid_result``,
        ``test_result``) and ``run_dir``; ``test_result`` is None after ``train_stage: pretrain``.

    Raises:
        UserError: a mistake in the configuration or the data.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; says how to go on.
    """
    compat.apply()
    config = NIFConfig(model, dataset, config_file_list, config_dict, argv)
    folder, clock = RunFolder(config), Stopwatch()
    if config["resume"] and folder.result.is_file():
        return _finished(read_result(folder.path), folder)
    with (
        folder.removed_after_a_mistake(),
        folder.owned(),
        folder.logging(config["state"]),
        folder.resumable(saved),
    ):
        for note in config.notes:
            logger.info(note)
        with clock.part("total"):
            views, trainer = _train_and_test(config, clock, saved, callback)
        durations = clock.seconds | {report.name: report.seconds for report in trainer.reports}
        record = result_record(config, views, trainer, durations)
        if views[0].needs.semantic_ids and folder.writes:
            write_ids(config, views[0], folder.path)
        folder.write_result(record, trainer.scored)
    test = trainer.evaluation
    return {
        **_finished(record, folder),
        "best_valid_score": trainer.best_valid_score,
        "best_valid_result": trainer.best_valid_result,
        "test_result": None if test is None else test.metrics(),
    }


def _train_and_test(
    config: NIFConfig, clock: "Stopwatch", saved: bool, callback: Callable[[int, float], None] | None
) -> tuple[list[View], NIFTrainer]:
    """The run itself: the three views of the data, and the trainer with its reports and test scores."""
    init_seed(config["seed"], config["reproducibility"])
    with clock.part("data"):
        views = build_views(config)
        phases = ("train", "valid", "test")
        train_data, valid_data, test_data = map(loader_of_view, [config] * 3, views, phases)
    logger.info(views[0])

    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    network = config.model_class(config, views[0]).to(config["device"])
    logger.info(network)
    trainer, show = NIFTrainer(config, network), config["show_progress"]
    trainer.fit(train_data, valid_data, saved=saved, show_progress=show, callback_fn=callback)
    if trainer.plan[-1] != "pretrain":
        with clock.part("evaluate"):
            trainer.evaluate(test_data, load_best_model=False, show_progress=show)
    return views, trainer


def _finished(record: Mapping, folder: RunFolder) -> dict:
    """Prints the table of a run that has its result, and returns what ``run_recbole_nif`` does."""
    if folder.writes:
        print(f"\n{result_table([record])}\n\n{folder.result}")
    stage, test = record["stages"][-1], record["test"]
    return {
        "best_valid_score": stage["best_score"],
        "valid_score_bigger": stage["valid_metric"] not in SMALLER_IS_BETTER,
        "best_valid_result": record["valid"],
        "test_result": test and {name: test[name] for name in METRICS},
        "run_dir": str(folder.path),
    }


class Stopwatch:
    """Seconds by named part of a run."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started
