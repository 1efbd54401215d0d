"""What went wrong on the way to a trained network, in one line that says what to change."""

from nnexp.config.messages.files import needs_a_kind
from nnexp.config.messages.line import one_line, told

__all__ = ["needs_a_kind", "one_line", "told"]
