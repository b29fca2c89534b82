from pathlib import Path

import pytest

from mosar.errors import BundleError, ConfigError, DataError
from mosar.platform import storage
from mosar.platform.storage import bundle, digest


def test_root_is_the_argument_then_the_environment_then_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAR_STORAGE", "/env")
    assert storage.root("/given") == "/given"
    assert storage.root("s3://bucket/x/") == "s3://bucket/x"
    assert storage.root() == "/env"
    monkeypatch.delenv("MOSAR_STORAGE")
    assert storage.root() == str(Path.home() / ".mosar")
    with pytest.raises(ConfigError, match="relative path 'here'"):
        storage.root("here")


@pytest.mark.parametrize("kind", ["folder", "uri"])
def test_every_operation_on_a_folder_and_on_a_uri(tmp_path: Path, kind: str) -> None:
    base = str(tmp_path) if kind == "folder" else f"memory://{tmp_path}"
    place = storage.join(base, "a", "b.json")
    assert not storage.exists(place)
    assert storage.names(storage.join(base, "a")) == []
    with pytest.raises(DataError, match="no such file"):
        storage.read_bytes(place)
    storage.write_json(place, {"x": [1]})
    storage.write_json(place, {"x": [2]})
    assert storage.read_json(place) == {"x": [2]}
    assert storage.names(storage.join(base, "a")) == ["b.json"]
    assert storage.files(base) == ["a/b.json"]
    assert storage.size(place) == len(storage.read_bytes(place))
    storage.append_bytes(storage.join(base, "log"), b"1\n")
    storage.append_bytes(storage.join(base, "log"), b"2\n")
    assert storage.read_bytes(storage.join(base, "log")) == b"1\n2\n"
    with pytest.raises(DataError, match="not JSON"):
        storage.read_json(storage.join(base, "log"))
    storage.remove(storage.join(base, "a"))
    storage.remove(storage.join(base, "a"))
    assert not storage.exists(place)


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "x")
    storage.write_bytes(place, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        storage.write_bytes(place, b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_seeds_differ_between_different_parts() -> None:
    seeds = {digest.seed(*parts) for parts in [(1, 23), (12, 3), (123,), ("1", 23), ("1, 23",)]}
    assert len(seeds) == 5
    assert all(0 <= s < 1 << 63 for s in seeds)


def test_bundles_are_verified(tmp_path: Path) -> None:
    place = str(tmp_path / "bundle")
    with pytest.raises(BundleError, match="not a bundle"):
        bundle.read_files(place)
    files = {"a.txt": b"1", "deep/b.txt": b"2"}
    name = bundle.write_files(place, files, {"made": "here"})
    assert bundle.digest_of(place) == name == bundle.write_files(place, files, {"made": "here"})
    assert bundle.read_files(place) == (files, {"made": "here"})
    (tmp_path / "bundle/a.txt").write_bytes(b"3")
    with pytest.raises(BundleError, match=r"a\.txt was altered"):
        bundle.read_files(place)
    (tmp_path / "bundle/a.txt").unlink()
    with pytest.raises(BundleError, match=r"a\.txt is missing"):
        bundle.read_files(place)
    with pytest.raises(BundleError, match="not a name"):
        bundle.write_files(place, {"../x": b""}, {})
