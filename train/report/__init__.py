"""From the figures of a training and its last evaluation to a page that shows them."""
