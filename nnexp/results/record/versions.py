"""The software that decides a run's numbers."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

RECORDED_PACKAGES = ("nnexp", "torch", "numpy", "scikit-learn", "hydra-core", "omegaconf")


def installed_versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide a run's numbers."""
    return dict(_installed_versions())


@functools.cache
def _installed_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
