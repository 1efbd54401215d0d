"""OpenML, against a server on loopback that answers as openml.org does."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sklearn.datasets._openml as fetching
from table_cells import by_name

from nnexp.data.readers.openml import OpenMLQuery, cache_folder, openml_table
from nnexp.errors import ConfigError, DataError

DENSE = b"""@relation pets
@attribute row numeric
@attribute weight numeric
@attribute colour {red, 'dark blue', green}
@attribute name string
@attribute kind {cat, dog}
@data
1,4.5,'dark blue',tom,cat
2,?,red,rex,dog
3,30,?,bob,dog
"""
SPARSE = b"""@relation words
@attribute a numeric
@attribute b numeric
@attribute kind {cat, dog}
@data
{0 2, 2 dog}
{1 3}
{0 1, 1 1, 2 dog}
"""
TYPES = {"numeric": "numeric", "{": "nominal", "string": "string"}


class Server:
    """What it serves by path, and which paths were asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.url = ""

    def add(self, number: int, name: str, content: bytes, targets: tuple[str, ...], **more: Any):
        """A data set, under its number and its name."""
        attributes = [line.split(None, 2)[1:] for line in content.decode().splitlines()
                      if line.startswith("@attribute")]  # fmt: skip
        features = [
            {
                "index": str(index), "name": attribute,
                "data_type": next(t for start, t in TYPES.items() if kind.startswith(start)),
                "is_target": str(attribute in targets).lower(), "is_ignore": "false",
                "number_of_missing_values": "0",
                "is_row_identifier": str(attribute == "row").lower(),
            }
            for index, (attribute, kind) in enumerate(attributes)
        ]  # fmt: skip
        is_sparse = content is SPARSE
        description = {
            "id": str(number), "name": name, "version": "1", "description": "d",
            "format": "Sparse_ARFF" if is_sparse else "ARFF", "status": "active",
            "url": f"{self.url}/data/v1/download/{number}/{name}.arff", "file_id": str(number),
            "md5_checksum": hashlib.md5(content).hexdigest(), **more,
        }  # fmt: skip
        entry = {"did": number, "name": name, "version": 1, "status": "active"}
        api = "/api/v1/json/data"
        rows = content.partition(b"@data\n")[2].count(b"\n")
        quality = [{"name": "NumberOfInstances", "value": str(rows)}]
        for path, answer in {
            f"{api}/list/data_name/{name}/limit/2/status/active/": {"data": {"dataset": [entry]}},
            f"{api}/list/data_name/{name}/limit/2/data_version/1": {"data": {"dataset": [entry]}},
            f"{api}/{number}": {"data_set_description": description},
            f"{api}/features/{number}": {"data_features": {"feature": features}},
            f"{api}/qualities/{number}": {"data_qualities": {"quality": quality}},
        }.items():
            self.answers[path] = json.dumps(answer).encode()
        self.answers[f"/data/v1/download/{number}/{name}.arff"] = content


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            answer = found.answers.get(self.path)
            self.send_response(412 if answer is None else 200)
            self.end_headers()
            self.wfile.write(answer or b"{}")

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    found.url = f"http://127.0.0.1:{serving.server_port}"
    for name, value in vars(fetching).items():
        if isinstance(value, str) and value.startswith("https://www.openml.org"):
            there = value.replace("https://www.openml.org", found.url)
            monkeypatch.setattr(fetching, name, there)
    found.add(7, "pets", DENSE, ("kind",))
    yield found
    serving.shutdown()
    thread.join()
    serving.server_close()


PETS = {
    "weight": [4.5, None, 30],
    "colour": ["dark blue", "red", None],
    "name": ["tom", "rex", "bob"],
    "kind": ["cat", "dog", "dog"],
}


def test_by_name_by_number_and_from_the_cache(server: Server, tmp_path: Path) -> None:
    for query in (
        OpenMLQuery("pets", cache=str(tmp_path)),
        OpenMLQuery("pets", 1, cache=str(tmp_path)),
        OpenMLQuery(data_id=7, cache=str(tmp_path)),
    ):
        table, target = openml_table(query)
        assert by_name(table) == PETS
        assert target == "kind"
    assert table.path == "OpenML pets (version 1, data_id 7)"
    assert table.where(1, 0) == "OpenML pets (version 1, data_id 7): row 1, column 'weight'"
    downloads = [path for path in server.asked if path.startswith("/data")]
    assert len(downloads) == 1
    server.answers.clear()
    assert by_name(openml_table(query)[0]) == PETS


def test_another_target(server: Server, tmp_path: Path) -> None:
    table, target = openml_table(OpenMLQuery("pets", target="colour", cache=str(tmp_path)))
    assert (by_name(table), target) == (PETS, "colour")
    with pytest.raises(ConfigError, match=r"^dataset.target=color: OpenML pets .*'colour'\?"):
        openml_table(OpenMLQuery("pets", target="color", cache=str(tmp_path)))


@pytest.mark.parametrize("has_pandas", [True, False])
def test_sparse_data_and_data_without_pandas(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pandas: bool
) -> None:
    if not has_pandas:
        known = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "pandas" else known(name)
        )
    server.add(8, "words", SPARSE, ("kind",))
    table, target = openml_table(OpenMLQuery("words", cache=str(tmp_path)))
    assert by_name(table) == {"a": [2, 0, 1], "b": [0, 3, 1], "kind": ["dog", "cat", "dog"]}
    assert target == "kind"
    plain = DENSE.replace(b"@attribute name string\n", b"")
    for name in (b"tom,", b"rex,", b"bob,"):
        plain = plain.replace(name, b"")
    server.add(9, "plain", plain, ("kind",))
    table, _ = openml_table(OpenMLQuery("plain", cache=str(tmp_path)))
    assert by_name(table) == {key: cells for key, cells in PETS.items() if key != "name"}
    if not has_pandas:
        with pytest.raises(DataError, match=r"^OpenML pets: has columns of text, which take pand"):
            openml_table(OpenMLQuery("pets", cache=str(tmp_path)))


def test_targets_that_are_not_one(server: Server, tmp_path: Path) -> None:
    server.add(10, "none", DENSE, ())
    server.add(11, "two", DENSE, ("kind", "colour"))
    for name, has in (("none", "no target of its own"), ("two", "2 targets, colour, kind")):
        with pytest.raises(ConfigError, match=f"has {has}; name one column with dataset.target"):
            openml_table(OpenMLQuery(name, cache=str(tmp_path)))


def test_what_openml_says_of_the_data_is_noted(server: Server, tmp_path: Path) -> None:
    server.add(12, "old", DENSE, ("kind",), warning="use with care")
    table, _ = openml_table(OpenMLQuery("old", cache=str(tmp_path)))
    (note,) = table.notes
    assert note.startswith("OpenML raised a warning on the dataset.")
    assert note.endswith("use with care")


def test_a_file_that_is_not_the_published_one(server: Server, tmp_path: Path) -> None:
    server.answers["/data/v1/download/7/pets.arff"] = DENSE.replace(b"4.5", b"5.5")
    with pytest.raises(DataError) as caught:
        openml_table(OpenMLQuery("pets", cache=str(tmp_path)))
    assert str(caught.value) == (
        f"OpenML pets: the file in {tmp_path} is not the published one (its MD5 is another); "
        "remove that folder, and it is downloaded again"
    )


def test_data_sets_that_are_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^OpenML dogs: No active dataset dogs found\.$"):
        openml_table(OpenMLQuery("dogs", cache=str(tmp_path)))
    with pytest.raises(DataError, match=r"^OpenML 99: Dataset with data_id 99 not found\.$"):
        openml_table(OpenMLQuery(data_id=99, cache=str(tmp_path)))


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in vars(fetching).items():
        if isinstance(value, str) and value.startswith("https://www.openml.org"):
            there = value.replace("https://www.openml.org", "http://127.0.0.1:9")
            monkeypatch.setattr(fetching, name, there)
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    with pytest.raises(DataError) as caught:
        openml_table(OpenMLQuery("adult", 2, cache=str(tmp_path)))
    message = str(caught.value)
    assert message.startswith(
        f"OpenML adult version 2: not in the cache {tmp_path}, and OpenML cannot be reached ("
    )
    assert message.endswith(
        "run it once where there is a network, or set dataset.cache to a folder that has it"
    )
    assert "\n" not in message


def test_queries_and_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for query in (OpenMLQuery(), OpenMLQuery("a", data_id=1), OpenMLQuery(version=1, data_id=1)):
        with pytest.raises(ConfigError, match=r"^dataset=openml: "):
            openml_table(query)
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder(None) == Path("/c/nnexp")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder(None) == Path.home() / ".cache" / "nnexp"
    assert cache_folder("~/x") == Path.home() / "x"
