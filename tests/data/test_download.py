"""Downloads, from a server on loopback that serves well and badly."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from idx_files import NAMES, draw, idx, packed

from nnexp.config.schema import IDXConfig, IDXFile
from nnexp.data import load
from nnexp.data.sources import files as files_module
from nnexp.errors import DataError

TRAIN_X, TRAIN_Y = draw(200, 20, 20)
TEST_X, TEST_Y = draw(100, 20, 20)
CONTENT = {
    NAMES["train_images"]: packed(idx(TRAIN_X)),
    NAMES["train_labels"]: packed(idx(TRAIN_Y)),
    NAMES["test_images"]: packed(idx(TEST_X)),
    NAMES["test_labels"]: packed(idx(TEST_Y)),
}


class Server(NamedTuple):
    url: str
    requests: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves /good/, /wrong/ (another content), /short/ (closes early) and /hang/ (is silent)."""

    def do_GET(self) -> None:
        _, way, name = self.path.split("/")
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        if way == "hang":
            time.sleep(1.0)
            return
        if way not in ("good", "wrong", "short"):
            self.send_error(404)
            return
        content = CONTENT[name]
        if way == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if way == "short" else content)

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Server(f"http://127.0.0.1:{running.server_port}", running.requests)  # type: ignore[attr-defined]
        running.shutdown()
        thread.join()


def config(root: Path, *urls: str) -> IDXConfig:
    files: dict[str, Any] = {
        key: IDXFile(file=name, sha256=hashlib.sha256(CONTENT[name]).hexdigest())
        for key, name in NAMES.items()
    }
    return IDXConfig(name="tiny", scaling="none", root=str(root), urls=list(urls), **files)


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_files_that_are_absent_are_fetched_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(tmp_path / "data", f"{server.url}/good/")
    dataset = load(settings)
    assert content_of(tmp_path / "data" / "tiny") == CONTENT
    assert sorted(server.requests) == sorted(f"/good/{name}" for name in CONTENT)
    assert (dataset.num_train + dataset.num_val, dataset.num_test) == (200, 100)
    pixels = (dataset.x * 255).round().to(torch.uint8).numpy().tobytes()
    assert pixels == TRAIN_X.tobytes() + TEST_X.tobytes()
    again = load(settings)
    assert len(server.requests) == 4
    assert again.fingerprint == dataset.fingerprint
    assert capsys.readouterr() == ("", "")  # no bar where stderr is no terminal


def test_only_what_is_absent_is_fetched(server: Server, tmp_path: Path) -> None:
    for name in (NAMES["train_images"], NAMES["test_labels"]):
        (tmp_path / name).write_bytes(CONTENT[name])
    load(config(tmp_path, f"{server.url}/good"))  # no slash at the end is as good
    assert server.requests == [f"/good/{NAMES[key]}" for key in ("train_labels", "test_images")]
    assert content_of(tmp_path) == CONTENT


@pytest.mark.parametrize("way", ["missing", "wrong", "short", "hang"])
def test_the_next_mirror_is_tried(
    server: Server, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "_TIMEOUT", 0.2)
    name = NAMES["train_images"]
    sha256 = hashlib.sha256(CONTENT[name]).hexdigest()
    folders = [f"{server.url}/{way}/", f"{server.url}/good/", f"{server.url}/never-asked/"]
    files_module.fetch(name, folders, sha256, tmp_path / name)
    assert content_of(tmp_path) == {name: CONTENT[name]}
    assert server.requests == [f"/{way}/{name}", f"/good/{name}"]


def test_when_no_mirror_delivers_each_is_named_with_its_reason(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "_TIMEOUT", 0.2)
    ways = ["missing", "wrong", "short", "hang"]
    closed = "http://127.0.0.1:9"  # the discard port: nobody listens
    urls = [*(f"{server.url}/{way}/" for way in ways), closed, "nonsense"]
    with pytest.raises(DataError) as caught:
        load(config(tmp_path, *urls))
    content = CONTENT[NAMES["train_images"]]
    wrong = hashlib.sha256(content[:-1] + bytes([content[-1] ^ 1])).hexdigest()
    right = hashlib.sha256(content).hexdigest()
    file = NAMES["train_images"]
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/tiny/{file}: absent, and not downloaded: ")
    reasons = message.split(": absent, and not downloaded: ")[1].split("; ")
    assert reasons[:4] == [
        f"{server.url}/missing/{file} (HTTP 404 Not Found)",
        f"{server.url}/wrong/{file} (sha256 {wrong}, expected {right})",
        f"{server.url}/short/{file} (cut short after {len(content) // 2} of {len(content)} bytes)",
        f"{server.url}/hang/{file} (timed out)",
    ]
    assert reasons[4].startswith(f"{closed}/{file} (")
    assert "refused" in reasons[4]
    assert reasons[5] == f"nonsense/{file} (unknown url type: 'nonsense/{file}')"
    assert content_of(tmp_path / "tiny") == {}


def test_an_interrupted_download_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(part: object, chunk: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files_module, "_write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(config(tmp_path, f"{server.url}/good/"))
    assert content_of(tmp_path / "tiny") == {}


def test_a_full_disk_is_named_and_no_other_mirror_is_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, chunk: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(path, mode))
    with pytest.raises(DataError) as caught:
        load(config(tmp_path, f"{server.url}/good/", f"{server.url}/wrong/"))
    assert str(caught.value) == f"{tmp_path}/tiny: cannot be written, No space left on device"
    assert len(server.requests) == 1
    assert content_of(tmp_path / "tiny") == {}


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError) as caught:
        load(config(tmp_path / "file", f"{server.url}/good/"))
    assert str(caught.value) == f"{tmp_path}/file/tiny: cannot be written, Not a directory"


def test_a_terminal_shows_a_bar(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    load(config(tmp_path, f"{server.url}/good/"))
    for name in CONTENT:
        assert f"tiny/{name}" in terminal.getvalue()
    assert "kB" in terminal.getvalue()
