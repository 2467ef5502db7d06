"""GAUC as a value metric in RecBole's tables; RecBole's ranking metric ``gauc`` stays what it is."""

from recbole.evaluator.base_metric import AbstractMetric
from recbole.utils import EvaluatorType

from recbole_nif.errors import UserError
from recbole_nif.evaluation.metrics import gauc


class UserAUC(AbstractMetric):
    """AUC per user, averaged over users by ``gauc_weight``; users with one class are skipped.

    RecBole's collector gathers no user ids. Our trainer computes GAUC by itself; whoever uses RecBole's
    evaluator directly puts them into the data object as ``data.user`` [N].
    """

    metric_type = EvaluatorType.VALUE
    metric_need = ["rec.score", "data.label", "data.user"]

    def __init__(self, config):
        super().__init__(config)
        self.weight = config["gauc_weight"] or "impressions"

    def calculate_metric(self, dataobject) -> dict[str, float]:
        """``{"userauc": value}``, rounded to RecBole's ``metric_decimal_place``.

        Raises:
            UserError: without ``data.user``, that is in RecBole's own trainers.
        """
        if "data.user" not in dataobject:
            raise UserError("UserAUC needs user ids, which RecBole's own trainers do not collect: drop it.")
        names = ("data.user", "data.label", "rec.score")
        users, labels, scores = (dataobject.get(name).numpy() for name in names)
        value = gauc(users, labels, scores, weight=self.weight).value
        return {"userauc": round(value, self.decimal_place)}
