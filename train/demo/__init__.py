"""From a network and the images of a browser to a page that shows what it sees."""
