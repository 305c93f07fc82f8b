"""Random images, and a test of uniformity."""

import torch


def pictures(b, channels, height, width):
    """Return smooth and noisy uint8 images `[B, H, W, C]` from dark to bright."""
    g = torch.Generator().manual_seed(b)
    ramp = torch.linspace(0, 1, width)[:, None] * torch.rand(b, height, 1, channels, generator=g)
    noise = torch.rand(b, height, width, channels, generator=g) * torch.linspace(0, 0.5, b)[:, None, None, None]
    return ((ramp + noise).clamp(0, 1) * 255).byte()


def chi_square(counts, expected):
    """Return by how many standard deviations the χ² of `counts` is above its mean."""
    freedom = counts.numel() - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5
