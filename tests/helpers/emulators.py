"""Object stores on loopback: moto's S3, which counts what it serves, and a GCS."""

import contextlib
import importlib.util
import threading

import pytest
from etils.epath import backend

from mpjax.io import stores

BUCKET = "lab"


class Counter:
    """A WSGI application that counts requests and the bytes of bodies, in and out."""

    def __init__(self, app):
        self._app, self._lock = app, threading.Lock()
        self.clear()

    def clear(self):
        self.requests, self.served = [], 0

    def __call__(self, environ, start_response):
        body = b"".join(self._app(environ, start_response))
        with self._lock:
            self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            self.served += len(body)
        return [body]


@contextlib.contextmanager
def s3():
    """Yields the counter of an empty S3 with the bucket `lab`."""
    pytest.importorskip("s3fs", reason="mpjax[s3] is not installed")
    moto = pytest.importorskip("moto.moto_server.werkzeug_app", reason="moto is not installed")
    from werkzeug import serving

    class Quiet(moto.MotoRequestHandler):
        def log_request(self, *args):
            pass

    counter = Counter(moto.DomainDispatcherApplication(moto.create_backend_app))
    server = serving.make_server("127.0.0.1", 0, counter, threaded=True, request_handler=Quiet)
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with _serving(server, variables):
        stores.filesystem("s3://lab").mkdir(BUCKET)
        yield counter


@contextlib.contextmanager
def gs():
    """Yields nothing, while there is an empty GCS with the bucket `lab`."""
    if importlib.util.find_spec("gcsfs") is None:  # imported below, once its switch is set
        pytest.skip("mpjax[gcs] is not installed")
    reason = "gcp-storage-emulator is not installed"
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason=reason)
    made = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    made._api.daemon = True
    made.start()
    made._api._httpd.handle_error = lambda *_: None  # clients hang up on what they fetch ahead
    address = f"http://127.0.0.1:{made._api._httpd.server_address[1]}"
    variables = {"STORAGE_EMULATOR_HOST": address, "TENSORSTORE_GCS_HTTP_URL": address}
    try:
        # Else it asks Google by gRPC, which kind of bucket this is.
        with _environment("gs", variables | {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}):
            yield
    finally:
        made.stop()


@contextlib.contextmanager
def _serving(server, variables):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with _environment("s3", variables):
            yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _environment(scheme, variables):
    """Sets the variables; no file system made under them outlives them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        _forget(scheme)
        try:
            yield
        finally:
            _forget(scheme)


def _forget(scheme):
    import fsspec

    backend.fsspec_backend._get_filesystem.cache_clear()
    fsspec.get_filesystem_class(scheme).clear_instance_cache()
