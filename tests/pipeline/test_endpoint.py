"""The endpoint on real Ray Serve, used by a real client and a real browser."""

import io
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import trimesh

from mosar.jobs import hydra_main, serve
from mosar.jobs.demo import serving
from mosar.platform.cluster import free_ports

KEY = "a key of the test"


@pytest.fixture(scope="module")
def url(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("serve")
    (folder / "key").write_text(KEY + "\n")
    limits = ["serving.max_body_mb=8", "serving.max_queued=1", f"serving.key_file={folder / 'key'}"]
    arguments = ["bundle=mine", f"storage={pipeline.storage}", f"serving.port={port}", *limits]
    with serving(arguments, pipeline.environment(), folder / "log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=300.0, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def test_a_second_endpoint_on_the_port_or_the_cluster_is_refused(
    url: str, client: httpx.Client, pipeline: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = int(url.rsplit(":", 1)[1])
    arguments = ["bundle=mine", f"storage={pipeline.storage}", f"serving.port={port}"]
    assert hydra_main.run(serve.main, serve.Serve, "serve", arguments) == 1
    assert f"port {port} of 127.0.0.1" in capsys.readouterr().err
    for key, value in pipeline.environment().items():
        monkeypatch.setenv(key, value)
    (other,) = free_ports(1)
    assert hydra_main.run(serve.main, serve.Serve, "serve", [*arguments[:2], f"serving.port={other}"]) == 1
    assert "already serves 'mosar'" in capsys.readouterr().err
    assert client.get("/healthz").status_code == 200


def test_health_names_the_bundle(client: httpx.Client) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert len(answer.json()["bundle_digest"]) == 64


def test_glb_by_default(client: httpx.Client, photographs: dict[str, bytes]) -> None:
    answer = client.post("/v1/avatars", content=photographs["jpeg"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "model/gltf-binary"
    assert "skin" in trimesh.load(io.BytesIO(answer.content), file_type="glb").geometry


def test_zip_by_accept(client: httpx.Client, photographs: dict[str, bytes]) -> None:
    answer = client.post("/v1/avatars", content=photographs["turned"], headers={"Accept": "application/zip"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {"avatar.glb", "avatar.json", "sheet.png", "maps/normal.png"} <= set(archive.namelist())


@pytest.mark.parametrize("kind", ["noface", "twofaces", "text", "empty", "truncated", "dot", "huge"])
def test_bad_photographs_are_refused(client: httpx.Client, mistakes: dict[str, tuple[bytes, str]], kind: str) -> None:
    content, word = mistakes[kind]
    answer = client.post("/v1/avatars", content=content)
    assert answer.status_code == 422
    assert word in answer.json()["error"]


def test_limits_and_negotiation(client: httpx.Client, url: str, photographs: dict[str, bytes]) -> None:
    def post(content: bytes, **headers: str) -> httpx.Response:
        return client.post("/v1/avatars", content=content, headers=headers)

    assert post(bytes(9_000_000)).status_code == 413
    assert post(b"x", Accept="text/html").status_code == 406
    assert client.post("/v1/avatars", files={"photo": b"x"}).status_code == 415
    assert client.get("/v1/avatars").status_code == 405
    without = httpx.post(f"{url}/v1/avatars", content=photographs["jpeg"], timeout=30.0)
    assert without.status_code == 401
    assert httpx.post(f"{url}/v1/avatars", content=b"", headers={"Authorization": "Bearer no"}).status_code == 401
    assert client.get("/healthz").status_code == 200  # it still answers


def test_a_full_endpoint_says_when_to_retry(client: httpx.Client, mistakes: dict[str, tuple[bytes, str]]) -> None:
    def post(_: int) -> httpx.Response:
        return client.post("/v1/avatars", content=mistakes["noface"][0])

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(post, range(24)))
    assert {answer.status_code for answer in answers} == {422, 503}
    assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 503} == {"5"}
    assert client.get("/healthz").status_code == 200


def test_off_loopback_a_key_is_required(pipeline: Any) -> None:
    command = [sys.executable, "jobs/serve.py", f"storage={pipeline.storage}", "serving.host=0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 2
    assert "key_file" in done.stderr


def test_the_page_in_a_browser(url: str, photographs: dict[str, bytes], tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium on this machine; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    (tmp_path / "portrait.jpg").write_bytes(photographs["jpeg"])
    (tmp_path / "none.jpg").write_bytes(b"none")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        problems: list[str] = []
        page.on("pageerror", lambda problem: problems.append(str(problem)))
        page.goto(url)
        page.set_input_files("#file", tmp_path / "portrait.jpg")
        page.wait_for_selector("#status.error")
        assert "key" in page.inner_text("#status")
        page.click("summary")
        page.fill("#key", KEY)
        page.set_input_files("#file", tmp_path / "portrait.jpg")
        page.wait_for_selector("#sheet", state="visible", timeout=120_000)
        assert page.evaluate("document.getElementById('sheet').decode().then(() => sheet.naturalWidth)") > 1000
        assert page.locator("#files a").count() >= 14
        with page.expect_download() as whole:
            page.locator("#files a", has_text="avatar.zip").click()
        with zipfile.ZipFile(whole.value.path()) as archive:
            texture = re.search(r"map_Kd (\S+)", archive.read("mesh.mtl").decode())
            assert texture
            assert texture[1] in archive.namelist()
        page.screenshot(path=tmp_path / "page.png")
        with page.expect_download() as download:
            page.click("text=avatar.glb")
        assert "skin" in trimesh.load(io.BytesIO(Path(download.value.path()).read_bytes()), file_type="glb").geometry
        page.set_input_files("#file", tmp_path / "none.jpg")
        page.wait_for_selector("#status.error")
        assert "not an image" in page.inner_text("#status")
        assert problems == []
        browser.close()
