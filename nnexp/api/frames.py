"""pandas, which is optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnexp.errors import NnexpError

if TYPE_CHECKING:
    import pandas as pd


def frame_of(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return rows as a ``pandas.DataFrame``; columns as in the first row that has each.

    Raises:
        NnexpError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise NnexpError("to_pandas() needs pandas: pip install 'nnexp[pandas]'") from None
    names = dict.fromkeys(key for row in rows for key in row) if columns is None else columns
    return pd.DataFrame(list(rows), columns=list(names))
