"""Real exports, web pages and dumps, by the options that the guide names."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from nnexp.config.compose import CONF, register, to_config
from nnexp.data import load_source
from nnexp.data.sources.text import TextSource

pytestmark = pytest.mark.shared_data


def source(*overrides: str) -> TextSource:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = load_source(to_config(compose("config", list(overrides))).dataset)
    assert isinstance(found, TextSource)
    return found


def test_tatoeba(shared_data: Path) -> None:
    file = shared_data / "text-tatoeba" / "sentences.csv.gz"
    found = source("dataset=tatoeba", f"dataset.paths=[{file}]")
    assert len(found.class_names) == 113
    assert len(found.lines) == 89_876  # one is there twice
    sizes = np.bincount(found.y)
    assert (sizes.min(), sizes.max()) == (104, 1000)
    finnish = found.lines[int(np.flatnonzero(found.y == found.class_names.index("fin"))[0])]
    assert finnish.isprintable()
    assert "Se on huono asia minulle." in found.lines


def test_web_pages(shared_data: Path) -> None:
    """One page of Common Crawl, and made-up ones whose line ends somebody has converted."""
    folder = shared_data / "webtext-samples"
    found = source(
        "dataset=wet", f"dataset.paths=[{folder}/*/*.wet,{folder}/*/*.wet.txt]",
        "dataset.label=WARC-Target-URI", "dataset.min_length=5",
    )  # fmt: skip
    assert [name.rpartition("/")[2] for name in found.class_names] == [
        "sample_chinese.zh", "sample_english.com", "sample_russian.ru", "Escopete",
    ]  # fmt: skip
    assert "馬克·吐溫名言" in found.lines
    assert len(found.lines) == 183
    spanish = source("dataset=wet", f"dataset.paths=[{folder}/*/*.wet.gz,{folder}/wikipedia]",
                     "dataset.format=auto", "dataset.label=file")  # fmt: skip
    assert spanish.class_names == ("viwiki-excerpt", "whirlwind")


def test_wikipedia(shared_data: Path) -> None:
    file = shared_data / "webtext-samples" / "wikipedia" / "viwiki-excerpt.xml"
    found = source("dataset=wikipedia", f"dataset.paths=[{file}]", "dataset.label=title")
    assert found.class_names == (
        "California", "Internet Society", "Ohio", "Thụy Điển", "Tiếng Việt",
    )  # fmt: skip
    markup = ("[[", "]]", "{{", "}}", "<ref", "'''")
    assert not [line for line in found.lines if any(mark in line for mark in markup)]
    assert sum(line.startswith("Ohio (viết tắt là OH") for line in found.lines) == 1
