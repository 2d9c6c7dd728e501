"""From the section `config.model` to a network, and to weights that fit it."""
