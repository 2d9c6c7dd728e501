"""A config goes in; a trained network and its report lie in a workdir."""
