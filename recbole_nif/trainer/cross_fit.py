"""Cross-fitted generators: a training row's flow comes from a generator that never trained on its user."""

import copy
import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.errors import UserError
from recbole_nif.trainer.pretrain import GeneratorPretrainStage
from recbole_nif.trainer.stages import Stage

logger = logging.getLogger(__name__)


def folds_of_users(n_users: int, folds: int, seed: int) -> Tensor:
    """A balanced random fold of every user, [n_users] int64."""
    if folds < 2:
        raise UserError(f"cross_fit_folds is {folds}: generator_cross_fit: kfold needs at least 2.")
    order = np.random.default_rng([seed, 4]).permutation(n_users)
    return torch.from_numpy(order % folds)


def fit_fold_generators(
    config,
    generator: nn.Module,
    train_data: CTRDataLoader,
    fold_of: Tensor,
    epochs: int,
    train: Callable[[Stage], object],
) -> list[nn.Module]:
    """One generator per fold, trained on the users of all other folds.

    A fold generator starts from the full one with fresh sequence parameters; the tables that define the
    flow's space stay as they are, so that the flows of all folds live in one space.

    Args:
        generator: the full generator; left untouched.
        fold_of: [n_users], from ``folds_of_users``.
        epochs: how long the full one trained to its best.
        train: runs a stage and leaves its module with the best weights.
    """
    generators = []
    for fold in range(int(fold_of.max()) + 1):
        own = copy.deepcopy(generator).requires_grad_(True)
        torch.manual_seed(config["seed"] + 1 + fold)  # the same whatever ran before, and on resuming
        own.reset_sequence_parameters()
        stage = GeneratorPretrainStage(config, own, train_data, None, users=fold_of != fold, epochs=epochs)
        stage.name = f"{stage.name}-fold{fold}"
        logger.info("generator of fold %d: %d cuts of the other folds", fold, stage.rows())
        train(stage)
        generators.append(own.requires_grad_(False).eval())
    return generators
