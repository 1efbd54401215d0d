"""What a sweep ends in: a comparison as a page, as tables and in the terminal."""
