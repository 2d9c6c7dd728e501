"""From a config to a trained network and its report, in a workdir."""
