"""Fused backward operations of PyTorch that have no public function (PyTorch 2.11).

The closed-form losses compute their own gradients. Public operations would need three or four calls for each of these,
and on small batches a call costs more than its arithmetic.
"""

import torch

# (grad, output, dim, dtype) -> gradient with respect to the input of softmax or log_softmax
softmax_backward = torch._softmax_backward_data
log_softmax_backward = torch._log_softmax_backward_data
# (rows [B, K], index [B], N, padding_idx, scale_grad_by_freq) -> [N, K]: the sum of the rows of each index. It adds in
# a fixed order, unlike index_add_ on a GPU, so that repeated runs are bit-exact.
sum_rows = torch.ops.aten.embedding_dense_backward.default
