"""What is shown on the standard error."""

import logging

from absl import logging as absl_logging


def log_to_stderr() -> None:
    """Show our own log lines as they are, and nothing of the libraries'."""
    log = logging.getLogger("ema_jax")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [logging.StreamHandler()]
    absl_logging.set_verbosity(absl_logging.FATAL)  # what fails is raised too
