"""EM attention and EMANet semantic segmentation in JAX and Flax."""

from ema_jax.backbones import ResNet
from ema_jax.classes import Classes
from ema_jax.em import EMAttention, em_attention
from ema_jax.emau import EMAU, FROZEN_BY_STOP
from ema_jax.mixture import em_trace, mixture_log_likelihood
from ema_jax.models import MODELS
from ema_jax.networks import ContextNet, DeepLabV3, DeepLabV3Plus, EMANet, PSANet
from ema_jax.predictor import Prediction, Predictor
from ema_jax.preprocessing import Preprocessing
from ema_jax.segmenter import Segmenter

__all__ = [
    "EMAU",
    "FROZEN_BY_STOP",
    "MODELS",
    "Classes",
    "ContextNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "EMANet",
    "EMAttention",
    "PSANet",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "ResNet",
    "Segmenter",
    "em_attention",
    "em_trace",
    "mixture_log_likelihood",
]
