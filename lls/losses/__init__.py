"""Losses with closed-form gradients, usable without the other packages of lls."""
