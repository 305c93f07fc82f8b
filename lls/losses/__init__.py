"""Losses with closed-form gradients, usable without the experiments of lls."""
