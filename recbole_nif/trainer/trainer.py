"""NIFTrainer: RecBole's trainer interface over staged training, exact metrics and plain checkpoints."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from recbole.trainer import Trainer
from torch import nn

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.fields import ROW_ID
from recbole_nif.data.stream.loader import StreamLoader
from recbole_nif.data.views import loader_of_view
from recbole_nif.errors import UserError
from recbole_nif.evaluation.code_probe import probe_codes
from recbole_nif.evaluation.scored_rows import ScoredRows
from recbole_nif.evaluation.scoring import Evaluation, evaluate_rows, score_rows
from recbole_nif.run_folder import default_run_dir
from recbole_nif.trainer import checkpoint
from recbole_nif.trainer.cross_fit import fit_fold_generators, folds_of_users
from recbole_nif.trainer.finetune import FinetuneStage
from recbole_nif.trainer.flow_cache import FlowCache, caches_flows
from recbole_nif.trainer.loop import run_stage
from recbole_nif.trainer.pretrain import GeneratorPretrainStage, pretrain_settings
from recbole_nif.trainer.pretrain_cache import pretrain_once
from recbole_nif.trainer.progress import Scalars, numbers
from recbole_nif.trainer.stages import SMALLER_IS_BETTER, Settings, Stage, StageReport
from recbole_nif.trainer.teacher import TeacherStage

logger = logging.getLogger(__name__)


class NIFTrainer(Trainer):
    """Trains any CTR model in the stages it declares; works in our runs and in stock ``run_recbole``.

    ``train_stage: both | pretrain | finetune`` chooses among the model's ``stages``. A stage ends with its
    best weights in the model and, unless ``saved=False``, in ``<run_dir>/checkpoints/<stage>-best.pt``.

    Attributes:
        reports: one ``StageReport`` per stage that has run.
        evaluation: the last ``Evaluation`` that ``evaluate`` made, with what GAUC covers.
        scored: the rows and scores that it was made of.
        scoring_seconds: how long scoring them took, reading the rows and the generator's flows included.
        saved_model_file, best_valid_score, best_valid_result: as in RecBole, of the last stage.
    """

    def __init__(self, config, model: nn.Module):
        # RecBole's constructor would make log_tensorboard/ and saved/ in the current folder
        self.config, self.model, self.device = config, model, config["device"]
        if config["single_spec"] is False and self.device.type == "cuda":
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.logger = logger
        self.run_dir = Path(config["run_dir"]) if config["run_dir"] else default_run_dir(config)
        self.plan = stage_plan(config, model)
        self.saved_model_file = str(self.run_dir / "checkpoints" / f"{self.plan[-1]}-best.pt")
        last = pretrain_settings(config) if self.plan[-1] == "pretrain" else Settings.read(config)
        self.valid_metric = last.valid_metric
        self.valid_metric_bigger = self.valid_metric not in SMALLER_IS_BETTER
        self.epochs = config["epochs"]
        self.start_epoch, self.cur_step = 0, 0
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_valid_result: dict[str, float] | None = None
        self.reports: list[StageReport] = []
        self.evaluation: Evaluation | None = None
        self.scored: ScoredRows | None = None
        self.scoring_seconds: float | None = None
        self.flows: FlowCache | None = None
        self.started_from: dict = {}  # the checkpoint that model_file named
        self.resumes = bool(config["resume"])

    def fit(
        self,
        train_data,
        valid_data=None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn=None,
    ):
        """Runs the stages and leaves the model with the best weights of the last one.

        Args:
            train_data, valid_data: our loaders, or RecBole's over a ``CTRDataset``; without validation rows
                there is no early stopping and the last epoch counts.
            verbose: whether to log every epoch.
            saved: whether to write checkpoints and TensorBoard scalars; else the best weights stay in memory
                and the run cannot be resumed.
            show_progress: progress bars.
            callback_fn: called with (epoch, validation score) after each validation of the last stage.

        Returns:
            The last stage's best validation score and all its validation metrics.
        """
        train = self._loader(train_data, "train")
        valid = self._loader(valid_data, "valid") if valid_data else None
        writes_scalars = saved and self.config["tensorboard"] is not False
        scalars = Scalars(self.run_dir / "tensorboard" if writes_scalars else None)
        folder, data = self.run_dir / "checkpoints" if saved else None, train.dataset.fingerprint()
        run = partial(
            run_stage,
            config=self.config,
            folder=folder,
            show_progress=show_progress,
            resume=self.resumes,
            data=data,
        )
        self.reports = []
        for name in self.plan:
            stage = self._stage(name, train, valid, show_progress, partial(run, scalars=Scalars(None)))
            callback = callback_fn if name == self.plan[-1] else None
            train_stage = partial(run, stage, scalars=scalars, verbose=verbose, callback=callback)
            if name == "pretrain":
                report = pretrain_once(
                    self.config, self.model, data, valid, folder, train_stage, resume=self.resumes
                )
            else:
                report = train_stage()
            self.reports.append(report)
        scalars.close()
        if name == "finetune" and valid is not None and hasattr(self.model, "code_hits"):
            known = probe_codes(self.model, self.config, train, valid)
            logger.info("generated codes of the next click: %s", numbers(known))
            report.facts |= known
        if report.valid is not None:
            self.best_valid_score, self.best_valid_result = report.best_score, OrderedDict(report.valid)
        return self.best_valid_score, self.best_valid_result

    def evaluate(self, eval_data, load_best_model: bool = True, model_file=None, show_progress: bool = False):
        """AUC, LogLoss and GAUC of the model, unrounded, as ``OrderedDict(auc=…, logloss=…, gauc=…)``.

        Args:
            eval_data: a loader over a ``CTRDataset``, ours or RecBole's.
            load_best_model: whether to load ``model_file`` or ``saved_model_file`` first; after ``fit`` the
                model has its best weights already.
            show_progress: progress bar.
        """
        if not eval_data:
            return None
        if load_best_model:
            self._load(model_file or self.saved_model_file)
        streamed = isinstance(eval_data, StreamLoader)
        loader = eval_data if streamed else CTRDataLoader(self.config, eval_data._dataset, phase="test")
        started = time.perf_counter()
        if self.flows is not None:
            self.flows.attach(loader, self.model.generator)
        self.scored = score_rows(self.model, loader, self.config, show_progress)
        self.scoring_seconds = time.perf_counter() - started
        self.evaluation = evaluate_rows(self.scored, self.config)
        return self.evaluation.metrics()

    def resume_checkpoint(self, resume_file):
        """Makes the next ``fit`` go on where the run stopped that wrote ``checkpoints/<stage>-last.pt``.

        Raises:
            UserError: the file is no such checkpoint, or of another model.
        """
        file = Path(resume_file)
        payload = checkpoint.load(file, expected_model=checkpoint.model_name(self.config))
        if file.name != f"{payload['stage']}-last.pt" or file.parent.name != "checkpoints":
            raise UserError(f"Cannot resume from {file}: give checkpoints/<stage>-last.pt of a run's folder.")
        self.run_dir, self.resumes = file.parent.parent, True
        self.saved_model_file = str(file.with_name(f"{self.plan[-1]}-best.pt"))

    def _loader(self, data, phase: str) -> CTRDataLoader:
        """Our loader over the same rows; RecBole's loaders know no histories and no pairs."""
        if isinstance(data, CTRDataLoader | StreamLoader):
            return data
        return loader_of_view(self.config, data._dataset, phase)

    def _load(self, file: str | Path) -> dict:
        payload = checkpoint.load(
            file, expected_model=checkpoint.model_name(self.config), expected_stage="finetune"
        )
        checkpoint.restore(self.model, payload["state_dict"], file)
        if Path(file) != Path(self.saved_model_file):
            self.flows = None  # they may come from another generator
        return payload

    def _stage(
        self,
        name: str,
        train: CTRDataLoader,
        valid: CTRDataLoader | None,
        show_progress: bool,
        train_fold: Callable[[Stage], StageReport],
    ) -> Stage:
        if name == "pretrain":
            return GeneratorPretrainStage(self.config, self.model.generator, train, valid)
        if name == "teacher":
            return TeacherStage(self.config, self.model.teacher, train, valid, show_progress)
        if getattr(self.model, "generator", None) is not None:
            self._start_finetune(train, valid, train_fold)
        else:
            if hasattr(self.model, "start_finetune"):
                self.model.start_finetune()
            self._start_from_file()
        return FinetuneStage(self.config, self.model, train, valid, show_progress, self.started_from)

    def _start_from_file(self) -> None:
        """Loads ``model_file``, a checkpoint of the finetune stage, for training on or for evaluation."""
        file = self.config["model_file"]
        if file:
            payload = self._load(file)
            self.started_from = {"file": Path(file).name, "epoch": payload["epoch"], **payload["early_stop"]}

    def _start_finetune(
        self,
        train: CTRDataLoader,
        valid: CTRDataLoader | None,
        train_fold: Callable[[Stage], StageReport],
    ) -> None:
        """Hands the generator over to stage 2 and computes its flows once per row."""
        generator, epochs = self.model.generator, self._generator_epochs()
        self.model.start_finetune()
        self._start_from_file()
        cached, cross_fit = (
            caches_flows(self.config, self.model),
            self.config["generator_cross_fit"] == "kfold",
        )
        if cross_fit and not cached:
            raise UserError(
                "generator_cross_fit: kfold stores flows: set freeze_generator: True and flow_cache: auto."
            )
        if not cached:
            return
        if cross_fit and epochs < 1 and self.config["epochs"]:
            raise UserError(
                "generator_cross_fit: kfold trains generators as long as stage 1 did: give "
                "pretrained_generator, or set train_stage: both."
            )
        self.flows = FlowCache(self.config, self.run_dir)
        if cross_fit:
            view, folds = train.dataset, self.config["cross_fit_folds"] or 2
            fold_of = folds_of_users(view.user_num, folds, self.config["seed"])
            fitted = fit_fold_generators(self.config, generator, train, fold_of, epochs, train_fold)
            fold_of_row = fold_of[view.inter_feat[view.uid_field]]
            for fold, fold_generator in enumerate(fitted):
                self.flows.fill(view, view.inter_feat[ROW_ID][fold_of_row == fold], fold_generator)
        for loader in (train, valid):
            if loader is not None:
                self.flows.attach(loader, generator)

    def _generator_epochs(self) -> int:
        """How long the generator was trained; without stage 1, ``pretrained_generator`` is loaded first."""
        if self.reports:
            return self.reports[-1].best_epoch + 1
        file = self.config["pretrained_generator"]
        if not file:
            if not self.config["model_file"]:
                logger.warning("No pretrained_generator is given: the generator keeps its initial weights.")
            return 0
        payload = checkpoint.load(
            file, expected_model=checkpoint.model_name(self.config), expected_stage="pretrain"
        )
        checkpoint.restore(self.model.generator, payload["state_dict"], file)
        return payload["epoch"] + 1


def stage_plan(config, model: nn.Module) -> tuple[str, ...]:
    """The stages to run: those that ``train_stage`` (both, pretrain or finetune) leaves of the model's."""
    stages = tuple(getattr(model, "stages", ("finetune",)))
    wanted = config["train_stage"] or "both"
    if wanted == "both":
        return stages
    if wanted not in stages:
        raise UserError(
            f"train_stage is {wanted!r}, but {type(model).__name__} has only {', '.join(stages)}."
        )
    if "teacher" in stages and not config["model_file"]:
        raise UserError(
            f"train_stage: {wanted} leaves out the stage that trains the teacher: set train_stage: both, or "
            "give a model_file, which holds the teacher too."
        )
    return (wanted,)
