"""The section `config.model` goes in; a network, and weights that fit it, come out."""
