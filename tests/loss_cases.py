"""Random logits and labels for tests of losses."""

import torch


def case(k=7, b=16, seed=0, spread=2.0):
    """Logits `[b, k]` that require gradients, and labels."""
    g = torch.Generator().manual_seed(seed)
    z = spread * torch.randn(b, k, generator=g, dtype=torch.float64)
    return z.requires_grad_(), torch.randint(k, (b,), generator=g)


def gradient(loss, z):
    return torch.autograd.grad(loss, z)[0]
