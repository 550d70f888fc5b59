"""Downloads from servers that lie: what comes is counted, checked, and never left half."""

import contextlib
import hashlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bnexp.data.download import Wanted, fetching, retrieve
from bnexp.errors import ConfigError

CONTENT = b"what was published" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
LIMIT = 2**20


def announced(length, content):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):  # until nobody listens
        while True:
            handler.wfile.write(bytes(2**16))


def endless_pieces(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"10000\r\n" + bytes(2**16) + b"\r\n")


def redirected(address):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.end_headers()

    return answer


def unannounced(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT)


ANSWERS = {
    "good": announced(len(CONTENT), CONTENT),
    "unannounced": unannounced,
    "moved": redirected("/good"),
    "shorter": announced(100, CONTENT),
    "longer": announced(len(CONTENT) + 100, CONTENT),
    "changed": announced(len(CONTENT), CONTENT[::-1]),
    "huge": announced(2**50, CONTENT),
    "negative": announced(-5, CONTENT[:-1]),
    "endless": endless,
    "endless-pieces": endless_pieces,
    "to-a-file": redirected("file:///etc/passwd"),
    "to-ftp": redirected("ftp://127.0.0.1:1/x"),
    "in-circles": redirected("/in-circles"),
}


@pytest.fixture
def url(monkeypatch):
    """Return the address of a server on this machine that answers as its path says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            ANSWERS[self.path.lstrip("/")](self)

        def log_message(self, format, *arguments):
            pass

    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["good", "moved", "unannounced", "longer"])
def test_what_was_published_is_written(url, tmp_path, path):
    retrieve(url + path, tmp_path / "file", MD5, LIMIT)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_exactly_the_limit_may_come(url, tmp_path):
    retrieve(f"{url}unannounced", tmp_path / "file", MD5, len(CONTENT))
    with pytest.raises(OSError, match="gives more than"):
        retrieve(f"{url}unannounced", tmp_path / "file", MD5, len(CONTENT) - 1)


REFUSED = {
    "shorter": "corrupted",
    "changed": "corrupted: its checksum",
    "huge": r"announces [\d,]+ bytes, expected at most",
    "negative": "corrupted",
    "endless": r"gives more than 1,048,576 bytes",
    "endless-pieces": r"gives more than 1,048,576 bytes",
    "to-a-file": "file:///etc/passwd",
    "to-ftp": "unknown url type: ftp",
    "in-circles": "Found",
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_lies_is_refused_in_little_memory_and_leaves_nothing(url, tmp_path, path, memory_below):
    wanted = Wanted("mnist", tmp_path / "data", ["file"], "whole")
    reason = rf"(?s)it cannot be downloaded: .*({REFUSED[path]})"
    with (
        memory_below(4 * LIMIT),
        pytest.raises(ConfigError, match=reason) as found,
        fetching(wanted, tmp_path / "data") as aside,
    ):
        retrieve(url + path, aside / "file", MD5, LIMIT)
    assert not (tmp_path / "data").exists()
    assert "root:" not in str(found.value)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,hello", "/etc/passwd"])
def test_only_the_web_is_asked(tmp_path, address):
    with pytest.raises((OSError, ValueError), match="unknown url type"):
        retrieve(address, tmp_path / "file", MD5, LIMIT)
    assert not (tmp_path / "file").exists()


def test_an_answer_that_is_not_http_is_refused(url, tmp_path, monkeypatch):
    monkeypatch.setitem(ANSWERS, "good", lambda handler: handler.wfile.write(b"hello\r\n"))
    with pytest.raises(http.client.HTTPException):
        retrieve(f"{url}good", tmp_path / "file", MD5, LIMIT)


def test_on_a_terminal_it_shows_how_much_has_come(url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    retrieve(f"{url}good", tmp_path / "file", MD5, LIMIT)
    shown = capsys.readouterr().err
    assert "downloading file" in shown
    assert "18.0/18.0 kB" in shown
