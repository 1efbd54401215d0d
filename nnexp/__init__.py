"""nnexp: neural network experiments composed by Hydra, trained by PyTorch, compared with KNN."""

__version__ = "0.1.0"
