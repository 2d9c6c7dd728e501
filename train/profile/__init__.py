"""What the networks cost: counted from their programs, and measured."""
