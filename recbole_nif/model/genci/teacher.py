"""The DeepFM whose probabilities the click logits are drawn to (Eq. 11)."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from recbole.model.context_aware_recommender.deepfm import DeepFM
from torch import Tensor

TEACHER_KEYS = {"teacher_mlp_hidden_size": "mlp_hidden_size", "teacher_dropout_prob": "dropout_prob"}


class TeacherConfig:
    """A run's config in which RecBole's DeepFM finds its own hyper-parameters."""

    def __init__(self, config: Mapping[str, Any]):
        self.config = config
        self.own = {name: config[key] for key, name in TEACHER_KEYS.items()}

    def __getitem__(self, key: str) -> Any:
        return self.own[key] if key in self.own else self.config[key]


def build_teacher(config, dataset) -> DeepFM:
    """RecBole's DeepFM on the features of ``dataset``, with tables of its own."""
    return DeepFM(TeacherConfig(config), dataset)


def distillation(logits: Tensor, teacher: Tensor, *, detach: bool) -> Tensor:
    """Eq. 11: mean cross-entropy of the click logits [B] with the probabilities of the teacher's logits [B].

    The paper's L is read as in the official code; ``detach`` keeps the term from training the teacher.
    Without, its gradient for a teacher's logit t is -z sigmoid'(t): it pushes t away from 0 wherever both
    agree, however large it is, and the model follows.
    """
    target = teacher.float().sigmoid()
    return F.binary_cross_entropy_with_logits(logits.float(), target.detach() if detach else target)
