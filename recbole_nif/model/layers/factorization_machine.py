"""Second-order factorization machine over field vectors."""

from torch import Tensor, nn


class FactorizationMachine(nn.Module):
    """sum_f w . e_f + sum_{f<g} e_f . e_g   (Rendle, "Factorization Machines", ICDM 2010, Eq. 1).

    The vectors are shared with the rest of the model, as in DeepFM (Guo et al., IJCAI 2017); so are the
    first-order weights, read off the vectors by ``w`` instead of kept in tables of their own.

    Args:
        width: of one field's vector.
    """

    def __init__(self, *, width: int):
        super().__init__()
        self.width = width
        self.first_order = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """features: the vectors of F fields side by side [N, F * width] -> [N]."""
        fields = features.unflatten(-1, (-1, self.width))  # [N, F, width]
        total = fields.sum(1)
        pairs = total.square().sum(-1) - fields.square().sum((1, 2))
        return self.first_order(total).squeeze(-1) + pairs / 2
