"""Weights of other projects as variables of our models."""

from ema_jax.weights.convert import convert_state_dict

__all__ = ["convert_state_dict"]
