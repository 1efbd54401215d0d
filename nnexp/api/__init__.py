"""nnexp from Python: runs, sweeps and a scikit-learn classifier, for notebooks and programs.

``nnexp`` itself exports what is public here.
"""
