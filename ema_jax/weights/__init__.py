"""Weights of other projects as variables of our models, and back."""

from ema_jax.weights.architecture import count_classes, model_options
from ema_jax.weights.channels import adapt_channels
from ema_jax.weights.convert import (
    check_finite,
    convert_state_dict,
    export_state_dict,
)
from ema_jax.weights.fit import check_shapes, fit_variables
from ema_jax.weights.load import load_torch
from ema_jax.weights.model_file import Description, load_model, save_model

__all__ = [
    "Description",
    "adapt_channels",
    "check_finite",
    "check_shapes",
    "convert_state_dict",
    "count_classes",
    "export_state_dict",
    "fit_variables",
    "load_model",
    "load_torch",
    "model_options",
    "save_model",
]
