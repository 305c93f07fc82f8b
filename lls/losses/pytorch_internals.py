"""Operations of PyTorch that have no public function (PyTorch 2.11)."""

import torch
from torch import Tensor

# Fused backward operations. The closed-form losses compute their own gradients; public operations would need three or
# four calls for each of these, and on small batches a call costs more than its arithmetic.
# (grad, output, dim, dtype) -> gradient with respect to the input of softmax or log_softmax
softmax_backward = torch._softmax_backward_data
log_softmax_backward = torch._log_softmax_backward_data
# (condition, message): an assertion on the device, which does not wait for it
assert_async = torch._assert_async


def minus_row_sums(rows: Tensor, index: Tensor, num_rows: int) -> Tensor:
    """Return `[num_rows, K]`: row i is minus the sum of the `rows` `[B, K]` whose `index` `[B]` is i.

    It adds in a fixed order, so that repeated runs are bit-exact. On a GPU the backward pass of an embedding does so,
    and index_add_ does not."""
    if rows.device.type == "cpu":
        return rows.new_zeros(num_rows, rows.shape[1]).index_add_(0, index, rows, alpha=-1)
    return torch.ops.aten.embedding_dense_backward(-rows, index, num_rows, -1, False)


def inside_transform() -> bool:
    """Return whether torch.compile or a transform of torch.func (grad, vmap, jvp, hessian) runs the calling code.

    There, no value of a tensor can be read, and a closed-form gradient would be wrong or is refused."""
    return torch.compiler.is_compiling() or inside_functorch()


def inside_functorch() -> bool:
    """Return whether a transform of torch.func runs the calling code."""
    return torch._C._are_functorch_transforms_active()
