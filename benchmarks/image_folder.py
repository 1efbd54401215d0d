"""Reading a folder of images, beside torchvision's ImageFolder with two workers.

    python benchmarks/image_folder.py [--images 10000] [--size 32] [--rounds 3]

JPEG files of about 200 x 200 pixels are made, in ten classes, in a temporary folder. Each side
reads all of them once a round, in a process of its own, from the first look at the folder to the
last pixel. torchvision decodes every pixel; nnexp has a JPEG decoded at half its size where that
is still twice the size wanted. ``whole`` is nnexp without that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import checkout

_CLASSES = 10
_SIDES = ("torchvision", "nnexp", "whole")


def make(root: Path, count: int) -> None:
    """``count`` JPEG files: a smooth picture, of noise enough that it packs as photographs do."""

    def draw(number: int) -> None:
        rng = np.random.default_rng(number)
        height, width = rng.integers(180, 221, 2).tolist()
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 8, (height, width, 3))
        file = root / f"class_{number % _CLASSES}" / f"{number:06}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=90)

    for label in range(_CLASSES):
        (root / f"class_{label}").mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(draw, range(count)))


def torchvision_pixels(root: Path, size: int) -> NDArray[np.uint8]:
    """[M, 3, size, size], by a DataLoader with two workers."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, PILToTensor, Resize

    transform = Compose([Resize((size, size)), PILToTensor()])
    loader = DataLoader(ImageFolder(str(root), transform), batch_size=256, num_workers=2)
    found: NDArray[np.uint8] = torch.cat([pixels for pixels, _ in loader]).numpy()
    return found


def nnexp_pixels(root: Path, size: int, *, whole: bool) -> NDArray[np.uint8]:
    """[M, size * size * 3], by ``dataset=image_folder``.

    Args:
        whole: decode all pixels of a JPEG.
    """
    from nnexp.config.dataset_schema import ImageFolderConfig
    from nnexp.data.sources.image_folder import load_image_folder

    if whole:
        from PIL import JpegImagePlugin

        JpegImagePlugin.JpegImageFile.draft = lambda self, mode, size: None  # type: ignore[method-assign]
    x = load_image_folder(ImageFolderConfig(root=str(root), size=size)).x
    assert x.dtype == np.uint8
    return x  # type: ignore[return-value]


def timed(side: str, root: Path, size: int) -> dict[str, float]:
    """Seconds, and the mean of all pixels, which shows that both have read the same."""
    import torch  # both sides have it imported, and Pillow's plugins loaded, when the clock starts

    Image.init()
    del torch
    if side == "torchvision":
        import torchvision.datasets  # noqa: F401
    begin = time.perf_counter()
    if side == "torchvision":
        pixels = torchvision_pixels(root, size)
    else:
        pixels = nnexp_pixels(root, size, whole=side == "whole")
    return {"seconds": time.perf_counter() - begin, "mean": float(pixels.mean())}


def main() -> None:
    """Make the files, time both sides in turn, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(timed(given.side, given.root, given.size)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        make(root, given.images)
        seconds: dict[str, list[float]] = {side: [] for side in _SIDES}
        for _ in range(given.rounds):
            for side in _SIDES:
                command = [sys.executable, __file__, "--side", side, "--root", str(root)]
                done = subprocess.run(
                    [*command, "--size", str(given.size)],
                    check=True, capture_output=True, text=True, env=checkout.environment(),
                )  # fmt: skip
                result = json.loads(done.stdout)
                seconds[side].append(result["seconds"])
                print(f"{side:12} {result['seconds']:6.2f} s, mean pixel {result['mean']:.2f}")
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    print(f"{given.images} images to {given.size} x {given.size}, medians:", end=" ")
    print(", ".join(f"{side} {median:.2f} s" for side, median in medians.items()))
    for side in ("nnexp", "whole"):
        print(f"{side} / torchvision: {medians[side] / medians['torchvision']:.2f}")


if __name__ == "__main__":
    main()
