"""BatchNorm over the samples of all processes, on CPUs as on GPUs.

N samples in all (times positions, for maps), per feature:  mean = sum_r n_r mean_r / N,
var = sum_r n_r (var_r + (mean_r - mean)^2) / N,  y = weight (x - mean) / sqrt(var + eps) + bias.

One exchange forward (mean, variance and number of each process), one backward (two sums), whatever the sizes n_r.
torch's own SyncBatchNorm refuses CPUs. Evaluation exchanges nothing, so one process may evaluate alone.
"""

from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from barlow.statistics.collectives import gather_rows, num_processes, sum_over_processes
from barlow.statistics.correlation import wide


def synchronise_batch_norms(module: nn.Module) -> None:
    """Let every BatchNorm of `module` take its statistics over all processes while it trains, in place.

    Parameters, buffers and their names stay what they are: only the class of each layer changes. `plain_batch_norms`
    takes it back. ValueError: a BatchNorm of a class of its own, which cannot be told to do so.
    """
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and not isinstance(part, (_Synchronised, nn.SyncBatchNorm)):
            if type(part) not in _SYNCHRONISED:
                wanted = ", ".join(plain.__name__ for plain in _SYNCHRONISED)
                raise ValueError(
                    f"backbone: its layer {name!r} is a {type(part).__name__}, which has no form for several "
                    f"processes; wanted {wanted}, another kind of norm, or one process"
                )
            part.__class__ = _SYNCHRONISED[type(part)]


def plain_batch_norms(module: nn.Module) -> None:
    """Take back `synchronise_batch_norms`, in place: the classes that one process has, and that files are made of."""
    for part in module.modules():
        if isinstance(part, _Synchronised):
            part.__class__ = _PLAIN[type(part)]  # type: ignore[assignment]


class _Synchronised(_BatchNorm):
    """The forward pass of the classes below; in evaluation, and alone, that of the plain class."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or num_processes() == 1:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        y, mean, var, count = _NormaliseOverProcesses.apply(x, self.weight, self.bias, self.eps)
        self._follow(mean, var * (count / (count - 1)))
        return self._finish(y)

    def _follow(self, mean: Tensor, unbiased_var: Tensor) -> None:
        """Move the running statistics, as torch's BatchNorm does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        for running, now in ((self.running_mean, mean), (self.running_var, unbiased_var)):
            if self.momentum is None:  # the average of all batches
                running.lerp_(now.to(running.dtype), self.num_batches_tracked.to(running.dtype).reciprocal())
            else:
                running.lerp_(now.to(running.dtype), self.momentum)

    def _finish(self, y: Tensor) -> Tensor:
        return y


class SyncBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """nn.BatchNorm1d over all processes."""


class SyncBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """nn.BatchNorm2d over all processes."""


class SyncBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """nn.BatchNorm3d over all processes."""


class SyncBatchNormAct2d(_Synchronised, BatchNormAct2d):
    """timm's BatchNorm with its dropout and activation, over all processes."""

    def _finish(self, y: Tensor) -> Tensor:
        finished: Tensor = self.act(self.drop(y))
        return finished


_SYNCHRONISED: dict[type[_BatchNorm], type[_Synchronised]] = {
    nn.BatchNorm1d: SyncBatchNorm1d,
    nn.BatchNorm2d: SyncBatchNorm2d,
    nn.BatchNorm3d: SyncBatchNorm3d,
    BatchNormAct2d: SyncBatchNormAct2d,
}
_PLAIN = {synchronised: plain for plain, synchronised in _SYNCHRONISED.items()}


class _NormaliseOverProcesses(torch.autograd.Function):
    """From x to (y, mean, biased variance, N).

    Backward, with g = dL/dy and x^ = (x - mean) / sqrt(var + eps):

        dx = weight / sqrt(var + eps) * (g - sum(g)/N - x^ sum(g x^)/N),

    sums over all processes; dweight = sum(g x^) and dbias = sum(g) over own samples, since DDP averages them.
    Statistics are in float32 (float64 for float64 input); mean, variance and N carry no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if x.numel() == 0:  # one value in each of the two or more processes is enough
            raise ValueError(f"batch norm: got shape {tuple(x.shape)}, wanted at least one value in every process")
        mean, var, count = _moments_over_processes(x)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps), count)
        ctx.mark_non_differentiable(mean, var, count)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps), mean, var, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        axes, shape = _axes_and_shape(x)
        grad = grad_outputs[0].to(mean.dtype)
        normalised = (x.to(mean.dtype) - mean.view(shape)).mul_(inverse_std.view(shape))
        own = torch.stack([grad.sum(axes), (grad * normalised).sum(axes)])
        mean_grad, mean_product = sum_over_processes(own) / count
        scale = inverse_std if weight is None else inverse_std * weight
        grad_x = grad - mean_grad.view(shape) - normalised.mul_(mean_product.view(shape))
        grad_x = grad_x.mul_(scale.view(shape)).to(x.dtype)
        if weight is None:
            return grad_x, None, None, None
        return grad_x, own[1].to(weight.dtype), own[0].to(weight.dtype), None


def _moments_over_processes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(mean, biased variance, N) per feature, from those of each process; no difference of large numbers."""
    axes, _ = _axes_and_shape(x)
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(exact, dim=axes, correction=0)
    count = exact.new_full((1,), x.numel() // x.shape[1])  # a tensor of a list would make the host wait for a GPU
    each = wide(gather_rows(torch.cat([mean, var, count]).unsqueeze(0), equal=True))
    means, variances = each[:, :-1].chunk(2, dim=1)
    total = each[:, -1].sum()
    weights = each[:, -1:] / total
    mean = (weights * means).sum(0)
    var = (weights * (variances + (means - mean).square())).sum(0)
    return mean.to(exact.dtype), var.to(exact.dtype), total.to(exact.dtype)


def _axes_and_shape(x: Tensor) -> tuple[list[int], tuple[int, ...]]:
    """The axes that statistics run over (all but the features'), and the shape of one number per feature."""
    return [axis for axis in range(x.ndim) if axis != 1], (1, -1, *[1] * (x.ndim - 2))
