"""The paper's networks, and the pretrained weights that they may start from."""
