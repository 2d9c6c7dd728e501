"""What the program says to its user, and the folders it writes for them."""
