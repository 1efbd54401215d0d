"""Lines of text with a label each, read from files as a stream."""
