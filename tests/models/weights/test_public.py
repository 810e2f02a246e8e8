import hashlib
import http.server
import re
import socket
import threading
from urllib.parse import urlparse

import numpy as np
import pytest
from safetensors.numpy import save

from mpjax.models import swin
from mpjax.models.projector import load_projector
from mpjax.models.weights import public
from mpjax.models.weights.public import PUBLIC, PublicWeights

CONTENT = save({"x": np.arange(20_000, dtype=np.float32)})
PREFIX = hashlib.sha256(CONTENT).hexdigest()[:8]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves /good….pth whole, half of /cut….pth, half of /stall….pth and then silence."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/login"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")
            return
        if not self.path.startswith(("/good", "/cut", "/stall")):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if "good" in self.path else CONTENT[: len(CONTENT) // 2])
        if "stall" in self.path:
            self.server.over.wait()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.over = [], threading.Event()
        running.url = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.over.set()
        running.shutdown()


def row(url, prefix=PREFIX):
    return PublicWeights("tiny", url, "Kinetics-400", 400, None, None, "none", prefix)


@pytest.mark.parametrize("prefix", [PREFIX, ""])
def test_a_good_file_is_kept_whole_and_downloaded_once(server, tmp_path, prefix):
    weights = row(f"{server.url}/good-{PREFIX}.pth", prefix)
    for _ in range(2):
        path = public.download(weights, tmp_path / "cache")
        assert path == tmp_path / "cache" / f"good-{PREFIX}.pth"
        assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_file_with_another_hash_is_named_with_both_and_not_kept(server, tmp_path):
    with pytest.raises(ValueError, match=rf"good\.pth: .*{PREFIX}, not with 01234567"):
        public.download(row(f"{server.url}/good.pth", "01234567"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_cut_connection_leaves_nothing(server, tmp_path):
    for prefix in (PREFIX, ""):
        with pytest.raises(ConnectionError, match=r"cut\.pth: the connection was cut.*the file's"):
            public.download(row(f"{server.url}/cut.pth", prefix), tmp_path)
        assert not list(tmp_path.iterdir())


def test_a_server_that_falls_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(public, "_TIMEOUTS", (5.0, 0.1))
    with pytest.raises(ConnectionError, match=r"stall\.pth: no connection, or no answer"):
        public.download(row(f"{server.url}/stall.pth"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_answer_other_than_the_file_is_told(server, tmp_path):
    with pytest.raises(ConnectionError, match=r"gone\.pth: the server answered 404 Not Found"):
        public.download(row(f"{server.url}/gone.pth"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_web_page_instead_of_the_file_is_not_kept(server, tmp_path):
    with pytest.raises(ValueError, match=r"login\.pth: the server sent a web page"):
        public.download(row(f"{server.url}/login.pth", ""), tmp_path)
    assert not list(tmp_path.iterdir())


def test_offline_the_message_names_the_url_and_the_way_out(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x.pth"
        with pytest.raises(ConnectionError) as caught:
            public.download(row(url), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{url}: no connection")
    assert "download it elsewhere and pass the file's path instead of the name tiny" in message
    assert "\n" not in message


def test_a_spoilt_file_in_the_cache_is_not_used_but_replaced(server, tmp_path):
    weights = row(f"{server.url}/good.pth")
    (tmp_path / "good.pth").write_bytes(CONTENT[:-1])
    assert public.cached(weights, tmp_path) is None
    assert public.download(weights, tmp_path).read_bytes() == CONTENT


def test_the_cache_folder_is_that_of_the_argument_then_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MPJAX_CACHE", str(tmp_path / "a"))
    assert public.cache_folder() == tmp_path / "a"
    assert public.cache_folder(str(tmp_path / "b")) == tmp_path / "b"
    monkeypatch.delenv("MPJAX_CACHE")
    assert public.cache_folder().name == "mpjax"


def test_a_name_loads_once_it_is_downloaded_and_else_tells_how(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MPJAX_CACHE", str(tmp_path))
    monkeypatch.setattr(public, "PUBLIC", (row(f"{server.url}/good.pth"),))
    with pytest.raises(FileNotFoundError, match=r"^tiny: .*python -m mpjax\.weights get tiny$"):
        load_projector("tiny")
    path = public.download(public.PUBLIC[0], tmp_path)
    assert public.locate("tiny") == path
    assert not server.asked[1:]  # loading never downloads
    with pytest.raises(ValueError, match=r"good\.pth: not a Video Swin"):  # it got there
        swin.load("tiny", seed=0, dtype="float32")


def test_a_path_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swin3d_t").write_text("mine")
    assert public.locate("swin3d_t").read_text() == "mine"


def test_the_table_agrees_with_itself():
    assert len({weights.name for weights in PUBLIC}) == len(PUBLIC)
    assert len({weights.file_name for weights in PUBLIC}) == len(PUBLIC)
    for weights in PUBLIC:
        assert urlparse(weights.url).scheme == "https"
        in_name = re.search(r"-([0-9a-f]{8})\.pth$", weights.file_name)
        assert weights.sha256_prefix == (in_name[1] if in_name else "")
        assert weights.dataset == f"Kinetics-{weights.classes}"


def test_a_file_is_recognised_by_its_hash_and_never_by_the_absence_of_one():
    assert public.recognise("7615ae03" + "0" * 56).name == "swin3d_t"
    assert public.recognise("0" * 64) is None
