"""Fetching, from a real server on loopback: whatever goes wrong, an error says so and nothing is written."""

import contextlib
import gzip
import http.server
import io
import subprocess
import sys
import tarfile
import threading

import pytest

from mosar.errors import ConfigError, DataError, RunError
from mosar.jobs import fetch_judges, hydra_main
from mosar.jobs.evaluation.judges import fetch
from mosar.jobs.evaluation.judges.fetch import Member, Package
from mosar.platform.storage import digest

CONTENT = {"one.json": b'{"a": 1}' * 50, "two.bin": bytes(range(256)) * 300}


def archive(content=CONTENT, extra=()):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in content.items():
            entry = tarfile.TarInfo(f"package/model/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for entry in extra:
            tar.addfile(entry)
    return packed.getvalue()


def package(data, members=CONTENT):
    pinned = {n: Member(f"package/model/{n}", len(c), digest.of_bytes(c)) for n, c in members.items()}
    return Package("@some/one", "1.2.3", len(data), digest.of_bytes(data), pinned)


@contextlib.contextmanager
def registry(data, status=200, announced=None, stall=None):
    """A server that has ``data`` as the package's archive; yields its address and the paths that were asked for.

    ``announced``: length that it announces, "none" for none. ``stall``: set as soon as half was sent; no more follows.
    """
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            if announced != "none":
                self.send_header("Content-Length", str(announced or len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):
                if stall is not None:
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    stall.set()
                    self.rfile.read()  # until the client goes away
                else:
                    self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refused(tmp_path, error, match, data, pinned, **how):
    with registry(data, **how) as (url, _), pytest.raises(error, match=match):
        fetch.fetch(str(tmp_path / "judges"), url, pinned)
    assert list(tmp_path.iterdir()) == []


def test_members_are_written_once(tmp_path):
    data = archive({**CONTENT, "unwanted.bin": b"much"})
    with registry(data) as (url, asked):
        assert fetch.fetch(str(tmp_path), url + "/", package(data))
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == CONTENT
        assert not fetch.fetch(str(tmp_path), url, package(data))
        assert asked == ["/@some/one/-/one-1.2.3.tgz"]
        (tmp_path / "two.bin").write_bytes(b"altered")
        assert fetch.missing(str(tmp_path), package(data)) == ["two.bin"]
        assert fetch.fetch(str(tmp_path), url, package(data))
    assert fetch.missing(str(tmp_path), package(data)) == []


def test_another_archive_is_refused(tmp_path):
    data = archive()
    other = gzip.compress(gzip.decompress(data)[::-1])
    refused(tmp_path, DataError, "sha256", other[: len(data)], package(data))
    refused(tmp_path, DataError, "more than", data + b"1", package(data))


def test_a_download_that_is_cut_off_is_refused(tmp_path):
    data = archive()
    refused(tmp_path, RunError, "nothing was written", data[:-100], package(data), announced=len(data))
    refused(tmp_path, DataError, "sha256", data[:-100], package(data), announced="none")


def test_a_registry_without_the_package(tmp_path):
    refused(tmp_path, RunError, "status 404", b"no", package(archive()), status=404)
    with pytest.raises(ConfigError, match="https://"):
        fetch.fetch(str(tmp_path), "ftp://host", package(archive()))


@pytest.mark.parametrize("name", ["package/../../evil", "../evil", "/etc/evil"])
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path, name):
    data = archive(extra=[tarfile.TarInfo(name)])
    refused(tmp_path, DataError, "leads out of it", data, package(data))


def test_other_members_than_the_pinned_are_refused(tmp_path):
    altered = archive({**CONTENT, "two.bin": CONTENT["two.bin"][::-1]})
    refused(tmp_path, DataError, r"package/model/two\.bin: not the file", altered, package(altered))
    longer = archive({**CONTENT, "two.bin": CONTENT["two.bin"] + b"1"})
    refused(tmp_path, DataError, r"package/model/two\.bin: not the file", longer, package(longer))
    absent = archive({"one.json": CONTENT["one.json"]})
    refused(tmp_path, DataError, r"has no two\.bin", absent, package(absent))
    link = tarfile.TarInfo("package/model/two.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "one.json"
    linked = archive({"one.json": CONTENT["one.json"]}, [link])
    refused(tmp_path, DataError, r"package/model/two\.bin: not the file", linked, package(linked))
    nothing = b"not an archive"
    refused(tmp_path, DataError, "damaged", nothing, package(nothing))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_LARGEST_ARCHIVE", 50_000)
    data = archive()
    refused(tmp_path, DataError, "unpacks to more than", data, package(data))


def test_killed_half_way_leaves_nothing(tmp_path):
    data = archive()
    half = threading.Event()
    code = "import sys; from mosar.jobs.evaluation.judges import fetch; fetch.fetch(sys.argv[1], sys.argv[2], "
    code += f"fetch.Package('@some/one', '1.2.3', {len(data)}, '', {{'one': fetch.Member('a', 1, '')}}))"
    with registry(data, stall=half) as (url, _):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "judges"), url])
        try:
            assert half.wait(60)
        finally:
            process.kill()
            process.wait()
    assert list(tmp_path.iterdir()) == []


def test_the_command_without_a_network(tmp_path, monkeypatch, capsys):
    """A port that was free a moment ago refuses connections."""
    with registry(b"") as (url, _):
        pass
    monkeypatch.setenv("npm_config_registry", url)
    run = [fetch_judges.main, fetch_judges.FetchJudges, "fetch_judges", [f"storage={tmp_path}"]]
    assert hydra_main.run(*run) == hydra_main.FAILED
    said = capsys.readouterr().err
    assert said.startswith(f"failed: {url}/@vladmandic/face-api/-/face-api-1.7.15.tgz: not downloaded")
    assert list(tmp_path.iterdir()) == []
    run[-1] = [*run[-1], "registry=nowhere"]
    assert hydra_main.run(*run) == hydra_main.BAD_INPUT
