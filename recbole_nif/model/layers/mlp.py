"""Feed-forward networks and Dice, the data adaptive activation of DIN."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recbole_nif.errors import UserError
from recbole_nif.model.layers.dropout import Dropout

POINTWISE = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class Dice(nn.Module):
    """Data adaptive activation of DIN (KDD 2018, section 5.2), per unit of the last dimension:

        y = p(x) x + (1 - p(x)) alpha x ,   p(x) = sigmoid((x - E[x]) / sqrt(Var[x] + eps))

    E and Var are those of the batch in training and running averages in evaluation; alpha is learned
    and starts at 0. (RecBole's Dice keeps alpha at 0 and does not normalize: it is SiLU.)
    """

    def __init__(self, size: int, *, momentum: float = 0.1, eps: float = 1e-8):
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.alpha = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` [..., size] -> the same shape in float32; ``mask`` [...] says what counts for E and Var."""
        flat = x.float().reshape(-1, x.shape[-1])  # [N, size]; half precision would lose small variances
        if not self.training:
            scale = torch.rsqrt(self.running_var + self.eps)
            gate = torch.addcmul(-self.running_mean * scale, flat, scale).sigmoid()
            return (flat * torch.addcmul(self.alpha, 1 - self.alpha, gate)).view(x.shape)
        counted = flat.new_ones(len(flat)) if mask is None else mask.reshape(-1).float()
        total = counted.sum()
        with torch.autocast(x.device.type, enabled=False):
            output, mean, var = _BatchDice.apply(flat, self.alpha, counted / total.clamp(min=1), self.eps)
        momentum = self.momentum * (total > 0).float()  # a batch without a valid position says nothing
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(var, momentum)
        return output.view(x.shape)


class _BatchDice(torch.autograd.Function):
    """Dice with batch statistics. Written out, since autograd would keep several copies of a [B, L, H] input.

    ``weight`` [N] sums to 1 over the positions that count. With s = 1 / sqrt(Var + eps), z = (x - E) s and
    the gradient g of y, the usual chain through the two moments gives

        u       = g x (1 - alpha) p (1 - p)                                                  (dL/dz)
        dL/dx   = g (alpha + (1 - alpha) p) + s (u - weight (sum(u) + z sum(u z)))
        dL/dalpha = sum(g x (1 - p))
    """

    @staticmethod
    def forward(ctx, x, alpha, weight, eps):
        mean = weight @ x  # a matrix-vector product is several times faster than a reduction over rows
        centered = x - mean
        var = weight @ centered.square()
        scale = torch.rsqrt(var + eps)
        gate = centered.mul_(scale).sigmoid_()  # p
        ctx.save_for_backward(x, alpha, weight, mean, scale, gate)
        ctx.mark_non_differentiable(mean, var)
        return torch.addcmul(alpha, 1 - alpha, gate).mul_(x), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        x, alpha, weight, mean, scale, gate = ctx.saved_tensors
        ones = torch.ones_like(weight)
        grad_x = torch.addcmul(alpha, 1 - alpha, gate).mul_(grad)
        product = grad * x
        su = torch.addcmul(product, product, gate, value=-1)  # g x (1 - p)
        grad_alpha = ones @ su
        su.mul_(gate).mul_((1 - alpha) * scale)  # s u
        sum_su = ones @ su
        # s z sum(u z) = (x - mean) slope, and sum(u (x - mean)) = sum(u x) - mean sum(u)
        slope = (ones @ torch.mul(su, x, out=product) - mean * sum_su) * scale.square()
        moments = torch.addcmul(sum_su - mean * slope, x, slope, out=product)
        grad_x.add_(su).addcmul_(moments, weight.unsqueeze(1), value=-1)
        return grad_x, grad_alpha, None, None


class MLP(nn.Module):
    """Dropout, linear map, optional batch norm and activation for each of ``hidden_sizes``.

    Args:
        activation: "dice" or a key of ``POINTWISE``.
        output_size: adds a last linear map without activation when given.
    """

    def __init__(
        self,
        input_size: int,
        hidden_sizes: Sequence[int],
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        output_size: int | None = None,
    ):
        super().__init__()
        self.layers = nn.ModuleList()
        for size in hidden_sizes:
            self.layers += [Dropout(dropout), nn.Linear(input_size, size)]
            if batch_norm:
                self.layers.append(nn.BatchNorm1d(size))
            self.layers.append(make_activation(activation, size))
            input_size = size
        if output_size is not None:
            self.layers.append(nn.Linear(input_size, output_size))
        self.output_size = input_size if output_size is None else output_size

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[..., input_size] -> [..., output_size]; ``mask`` [...] keeps padding out of Dice's statistics."""
        for layer in self.layers:
            x = apply_layer(layer, x, mask)
        return x


def apply_layer(layer: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """``layer(x)``; Dice is the one layer that also wants to know which positions count."""
    return layer(x, mask) if isinstance(layer, Dice) else layer(x)


def make_activation(name: str, size: int) -> nn.Module:
    """The activation called ``name`` for a layer of ``size`` units."""
    if name == "dice":
        return Dice(size)
    if name not in POINTWISE:
        raise UserError(f"There is no activation {name!r}; choose one of dice, {', '.join(POINTWISE)}.")
    return POINTWISE[name]()
