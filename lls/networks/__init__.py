"""The paper's networks, timm's networks, and pretrained weights."""
