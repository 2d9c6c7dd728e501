"""The application: data, training, evaluation and prediction around `ema_jax`."""
