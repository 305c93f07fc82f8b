"""Fused backward operations of PyTorch that no public function gives (PyTorch 2.11).

The closed-form losses compute their own gradients. With public operations alone each of these would be three or four,
and on small batches an operation costs more than its arithmetic.
"""

import torch

# (grad, output, dim, dtype) -> the gradient to the input of softmax, and of log_softmax
softmax_backward = torch._softmax_backward_data
log_softmax_backward = torch._log_softmax_backward_data
# (rows [B, K], index [B], N, padding_idx, scale_grad_by_freq) -> [N, K], the sum of the rows of each index. It adds in
# a fixed order, unlike index_add_ on a GPU: equal runs stay equal to the bit.
sum_rows = torch.ops.aten.embedding_dense_backward.default
