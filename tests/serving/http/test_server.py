"""The service in real processes: slow and oversized senders, signals, workers, TLS (slow)."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from muma.errors import ConfigError
from muma.serving.http.server import ServerConfig, load, serve
from served_support import served, small


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"factory": "nothing"}, "does not exist"),
        ({"factory": "muma.serving.http.nothing.make"}, "does not exist"),
        ({"factory": "served_support.small"}, "missing a required argument"),
        ({"factory": "served_support.now_us", "tls_key": "k"}, "needs both"),
        (
            {"factory": "served_support.now_us", "tls_key": "/no", "tls_certificate": "/no"},
            "no file",
        ),
    ],
)
def test_what_is_wrong_is_said_before_a_process_starts(wrong, message):
    with pytest.raises(ConfigError, match=message):
        serve(ServerConfig(**wrong))


def test_a_factory_must_make_a_service(tmp_path):
    with pytest.raises(ConfigError, match="made a int; it must make a Service"):
        load(ServerConfig(factory="served_support.now_us"))
    arguments = {"folder": str(tmp_path), "bounds": {}}
    assert load(ServerConfig(factory="served_support.small", arguments=arguments)).runtime.service
    assert small(**arguments).metrics_folder == str(tmp_path / "metrics")


def _socket(port):
    plain = socket.create_connection(("127.0.0.1", port))
    plain.settimeout(30)
    return plain


def _head(token, length, extra=""):
    return (
        f"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n{length}{extra}\r\n"
    ).encode()


def _drain(plain):
    got = b""
    try:
        while piece := plain.recv(65_536):
            got += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return got


@pytest.mark.slow
def test_slow_senders_are_cut_off_while_others_are_served(tmp_path):
    with served(tmp_path, bounds={"body_s": 1.0}, header_s=1.0) as (url, token, port, _):
        key = {"authorization": f"Bearer {token}"}
        heads = [_socket(port) for _ in range(50)]
        for plain in heads:
            plain.sendall(b"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nX-a: ")
        bodies = [_socket(port) for _ in range(50)]
        for plain in bodies:
            plain.sendall(_head(token, "Content-Length: 100\r\n") + b"{")
        begun = time.monotonic()
        for _ in range(20):
            sent = httpx.post(url + "/v1/recommendations", json={}, headers=key, timeout=5)
            assert sent.status_code == 200
        for plain in bodies:
            assert b" 408 " in _drain(plain).split(b"\r\n", 1)[0]
        for plain in heads:
            assert b" 200 " not in _drain(plain)
        assert time.monotonic() - begun < 20


@pytest.mark.slow
def test_oversized_bodies_and_heads(tmp_path):
    with served(tmp_path) as (url, token, port, _):
        with _socket(port) as plain:
            plain.sendall(_head(token, "Content-Length: 999999999999\r\n"))
            assert b" 413 " in plain.recv(4_096).split(b"\r\n", 1)[0]
        with _socket(port) as plain:
            plain.sendall(_head(token, "Transfer-Encoding: chunked\r\n"))
            try:
                for _ in range(64):
                    plain.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass
            got = _drain(plain)
            assert not got or b" 413 " in got.split(b"\r\n", 1)[0]
        with _socket(port) as plain:
            try:
                plain.sendall(
                    _head(token, "Content-Length: 2\r\n", "X-a: " + "a" * 1_000_000 + "\r\n")
                )
                plain.sendall(b"{}")
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert b" 200 " not in _drain(plain)
        for broken in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST /v1/rank HTTP/9.9\r\n\r\n"):
            with _socket(port) as plain:
                plain.sendall(broken)
                plain.shutdown(socket.SHUT_WR)
                assert b" 200 " not in _drain(plain)
        key = {"authorization": f"Bearer {token}"}
        assert httpx.post(url + "/v1/rank", json={"items": ["n1"]}, headers=key).status_code == 200
        path = url + "/v1/users/" + "a%2Fb"
        event = {"event_id": "e", "user_id": "a/b", "kind": "click", "item_id": "n1"}
        assert httpx.post(url + "/v1/events", json=event, headers=key).status_code == 200
        assert httpx.get(path, headers=key).json()["user"] == "a/b"


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_what_is_under_way_and_flushes(tmp_path, signal_):
    with served(tmp_path, slow_s=1.0) as (url, token, _, process):
        key, got = {"authorization": f"Bearer {token}"}, []

        def send():
            event = {"event_id": "last", "user_id": "u", "kind": "click"}
            got.append(httpx.post(url + "/v1/events", json=event, headers=key, timeout=20))

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.4)
        process.send_signal(signal_)
        sender.join(30)
        assert process.wait(30) == 0
        assert [sent.json()["accepted"] for sent in got] == [1]
        assert (tmp_path / "kept").read_text() == "last\n"
        assert len(list(tmp_path.glob("stopped-*"))) == 1
    for line in (tmp_path / "log").read_text().splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line))


@pytest.mark.slow
def test_several_workers_share_the_port_and_add_their_counts(tmp_path):
    with served(tmp_path, workers=3) as (url, token, _, _):
        key = {"authorization": f"Bearer {token}", "connection": "close"}
        for _ in range(60):
            assert httpx.post(url + "/v1/recommendations", json={}, headers=key).status_code == 200
        time.sleep(2.5)
        counted = httpx.get(url + "/metrics", headers=key).text
        route = 'route="/v1/recommendations",method="POST",status="200"'
        assert f"muma_requests_total{{{route}}} 60" in counted
        assert len(list((tmp_path / "metrics").glob("worker-*.json"))) == 3
    assert len(list(tmp_path.glob("stopped-*"))) == 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_with_a_certificate_it_speaks_tls_only(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
         "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    paths = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with served(tmp_path, bounds={"hsts": True}, **paths) as (url, _, port, _):
        import ssl

        trusted = ssl.create_default_context(cafile=str(certificate))
        sent = httpx.get(url + "/healthz", verify=trusted)
        assert sent.status_code == 200
        assert sent.headers["strict-transport-security"].startswith("max-age=")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_importing_the_app_does_not_start_it():
    code = "import muma.serving.http.app, sys; print('granian' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
