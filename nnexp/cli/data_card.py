"""``nnexp data``: what the columns of a table are taken for, before anything is trained."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnexp.cli.exit_codes import Parser, errors_in_one_line
from nnexp.config.fields import check
from nnexp.config.overrides_text import read_options
from nnexp.config.schema import TableConfig
from nnexp.data.source import printable
from nnexp.errors import ConfigError, did_you_mean


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the data card of a file."""
    parser = Parser(
        prog="nnexp data",
        description="Shows what each column of a table is taken for and what becomes of it, as "
        "training with dataset=table would do. Options are those of the data set, as "
        "target=label or missing=[-9999]; dataset.target=label is the same.",
    )
    parser.add_argument("file", metavar="FILE", help="a table of any format")
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="of dataset=table")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parsed = parser.parse_intermixed_args(arguments)
    with errors_in_one_line():
        config = table_config(parsed.file, parsed.options)
        from nnexp.data.tabular import card_of

        card = card_of(config)
        for finding in card.findings:
            if finding.warning and not parsed.json:
                name = printable(finding.name)
                print(f"nnexp: data: column {name}: {finding.warning}", file=sys.stderr)
        print(json.dumps(card.to_json(None), indent=1) if parsed.json else card.text(None))


def table_config(path: str, options: Sequence[str]) -> TableConfig:
    """Return the config of a table.

    Args:
        path: of its file.
        options: overrides, their keys with or without ``dataset.``.

    Raises:
        ConfigError: an option that there is not, or a value that it cannot have.
    """
    config = OmegaConf.structured(TableConfig)
    config.path = path
    names = [field.name for field in dataclasses.fields(TableConfig)]
    for key, value in read_options(options).items():
        name = key.removeprefix("dataset.")
        if name not in names:
            near = did_you_mean(name, names)
            raise ConfigError(f"{key}: is no option of dataset=table{near}")
        try:
            config[name] = value
        except OmegaConfBaseException as error:
            if isinstance(getattr(TableConfig(), name), list) and not isinstance(value, list):
                raise ConfigError(f"{key}={value}: must be a list, as {key}=[{value}]") from error
            raise ConfigError(f"{key}={value}: {str(error).splitlines()[0]}") from error
    if OmegaConf.is_missing(config, "target"):
        config.target = ""
    table: TableConfig = OmegaConf.to_object(config)  # type: ignore[assignment]
    check(table, "dataset")
    return table
