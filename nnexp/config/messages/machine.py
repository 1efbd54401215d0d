"""What the machine cannot do: memory that runs out, numbers too large."""

from __future__ import annotations

import re

from nnexp.config.messages.words import sentence_of
from nnexp.errors import is_out_of_memory


def too_large(error: Exception) -> str | None:
    """Too little memory, or a number that overflows; None for other errors."""
    text = sentence_of(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if is_out_of_memory(error):
        asked = re.search(r"tried to allocate ([\d.]+ \w+)", text, re.IGNORECASE)
        return (
            "out of memory: the network or the data do not fit"
            + (f" (tried to allocate {asked[1]})" if asked else "")
            + "; try smaller model.hidden, trainer.batch_size or dataset.num_train"
        )
    if "OverflowError" in names or re.search(
        "Overflow when unpacking|multiplication overflow", text
    ):
        return (
            "a number is too large to compute with; look at model.hidden, trainer.batch_size and "
            "trainer.threads (HYDRA_FULL_ERROR=1 shows where)"
        )
    return None
