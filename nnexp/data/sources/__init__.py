"""Where data sets come from: text files, images, scikit-learn, generated points."""
