"""The commands without a network: what they are given, what they keep, how they stop, and what they say."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

import mosar
from mosar.errors import ConfigError, PhotographError
from mosar.jobs import cli, progress_bar
from mosar.jobs.commands import finished, light, photograph_files
from mosar.platform.storage import bundle, replace_folder

DIGESTS = {"head_digest": "1" * 64}


@dataclass(frozen=True)
class FakeAvatar:
    bundle_digest: str
    remarks: tuple[str, ...] = ("small",)
    made_from: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path, targets: str) -> None:
        facts = {"bundle_digest": self.bundle_digest, "made_from": self.made_from}
        replace_folder(folder, {**dict.fromkeys(finished.FILES, b"x"), "avatar.json": json.dumps(facts).encode()})


class FakeReconstructor:
    """Makes an avatar of any photograph but those whose content names another outcome; counts loads and avatars."""

    loads = 0
    made: tuple[str, ...] = ()

    def __init__(self, location: str) -> None:
        self.digest = bundle.digest_of(location)

    def __enter__(self) -> Self:
        type(self).loads += 1
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, photograph: Path | list[Path], face: str | int, progress: object = None) -> Any:
        if isinstance(photograph, list):
            return tuple(self(each, face) for each in photograph)
        content = photograph.read_text()
        if content == "bad":
            raise PhotographError(f"{photograph}: no face was found")
        if content == "crash":
            raise RuntimeError("out of memory")
        if content == "interrupt":
            raise KeyboardInterrupt
        type(self).made = (*self.made, photograph.name)
        return FakeAvatar(self.digest)


Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``mosar reconstruct`` in a folder with photographs and a bundle, with the fake in place of the networks."""
    bundle.write_files(str(tmp_path / "bundle"), {"head.npz": b""}, {})
    (tmp_path / "in").mkdir()
    for name in ("ann", "bob", "eve"):
        (tmp_path / "in" / f"{name}.jpg").write_text(name)
    FakeReconstructor.loads, FakeReconstructor.made = 0, ()
    monkeypatch.setattr(mosar, "load", lambda location, **_: FakeReconstructor(location), raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *words: cli.main(["reconstruct", *words, "--bundle", "bundle"])


def test_many_photographs_need_one_load_and_finished_avatars_are_kept(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("in", "-o", "out") == 0
    assert (FakeReconstructor.loads, FakeReconstructor.made) == (1, ("ann.jpg", "bob.jpg", "eve.jpg"))
    said = capsys.readouterr()
    assert "out: 3 reconstructed, 0 kept, 0 failed" in said.out
    assert "in/bob.jpg (2 of 3)" in said.err
    Path("in/bob.jpg").write_text("another photograph")
    Path("out/eve/avatar.glb").unlink()
    assert run("in/*.jpg", "-o", "out") == 0
    assert FakeReconstructor.made[3:] == ("bob.jpg", "eve.jpg")
    assert "out/ann: kept" in capsys.readouterr().out
    assert run("in", "-o", "out") == 0
    assert FakeReconstructor.loads == 2  # nothing was left to do
    assert run("in", "-o", "out", "--size", "512") == 0
    assert run("in", "-o", "out", "--size", "512", "--again") == 0
    assert len(FakeReconstructor.made) == 11


def test_photographs_of_one_person_are_made_together(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("in", "-o", "out", "--same-person") == 0
    facts = [json.loads(Path(f"out/{name}/avatar.json").read_bytes())["made_from"] for name in ("ann", "bob", "eve")]
    assert facts[0]["person"] == [each["photograph_sha256"] for each in facts]
    assert run("in", "-o", "out", "--same-person") == 0
    assert len(FakeReconstructor.made) == 3  # all are kept
    Path("in/bob.jpg").write_text("another photograph")
    assert run("in", "-o", "out", "--same-person") == 0
    assert len(FakeReconstructor.made) == 6  # a changed photograph changes the avatars of the others
    capsys.readouterr()
    assert run("in", "-o", "out", "--same-person", "--keep-going") == 2
    assert "--keep-going" in capsys.readouterr().err


def test_one_file_has_its_avatar_in_the_folder_itself(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("in/ann.jpg", "-o", "out") == 0
    assert Path("out/avatar.json").is_file()
    assert capsys.readouterr().out.splitlines()[0] == "out/sheet.png: overview of the avatar"


def test_a_bad_photograph_stops_the_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in/bob.jpg").write_text("bad")
    assert run("in", "-o", "out") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: in/bob.jpg: no face was found (1 of 3 photographs are done; ")
    assert not Path("out/bob").exists()


def test_keep_going_lists_what_failed(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    Path("in/bob.jpg").write_text("bad")
    Path("in/[odd].jpg").write_text("crash")
    assert run("in", "-o", "out", "--keep-going") == 1
    said = capsys.readouterr()
    assert re.search(r"in/bob\.jpg .* no face was found", said.err)
    assert re.search(r"in/\[odd\]\.jpg .* RuntimeError: out of memory", said.err)
    assert "out: 2 reconstructed, 0 kept, 2 failed" in said.out


def test_what_was_interrupted_goes_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in/bob.jpg").write_text("interrupt")
    assert run("in", "-o", "out") == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted: 1 of 3 photographs are done")
    Path("in/bob.jpg").write_text("bob")
    assert run("in", "-o", "out") == 0
    assert FakeReconstructor.made == ("ann.jpg", "bob.jpg", "eve.jpg")


def test_photographs_are_found_once_and_left_out_files_are_told(run: Run) -> None:
    Path("in/notes.txt").write_text("x")
    Path("in/.hidden.jpg").write_text("x")
    found, remarks = photograph_files.find(["in/bob.jpg", "in", "in/../in/b*"])
    assert [path.name for path in found] == ["bob.jpg", "ann.jpg", "eve.jpg"]
    assert len(remarks) == 1
    assert remarks[0].startswith("in: 1 of 4 files were left out, whose endings are none of .jpg, ")


def test_two_photographs_never_share_a_folder(run: Run) -> None:
    Path("in/ann.png").write_text("x")
    given = ["in/*"]
    with pytest.raises(ConfigError, match=r"in/ann\.jpg and in/ann\.png would both be written to out/ann; rename"):
        photograph_files.with_folders(photograph_files.find(given)[0], given, Path("out"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reconstruct", "empty", "-o", "out"], "empty: the folder has no image"),
        (["reconstruct", "x*.jpg", "-o", "out"], "no file has a name of this pattern"),
        (["reconstruct", "x.jpg", "-o", "out", "--face", "0"], "--face: got '0', expected largest"),
        (["reconstruct", "x.jpg", "-o", "out", "--size", "600"], "--size: got '600', expected one of auto, 512"),
        (["reconstruct", "x.jpg"], "required: -o/--output; see `mosar reconstruct --help`"),
        (["relight", "empty", "--light", "studio"], "empty: no avatar here"),
        (["relight", ".", "--light", "studio"], "it holds folders of 1 avatars, such as me"),
        (["relight", "me", "--light", "none.hdr"], "none.hdr: no such file"),
        (["relight", "me", "--light", "stuido"], "got 'stuido'; expected FILE.hdr"),
        (["relight", "me", "--light", "10,100"], "expected azimuth,elevation in degrees"),
        (["relight", "me", "--light", "studio", "-o", "x.jpg"], "ends in .png"),
        (["relight", "me", "--light", "studio", "-o", "file/x.png"], "file/x.png: Not a directory"),
        (["turntable", "me", "-o", "x.mp4"], "ends in .gif or .webm"),
        (["turntable", "me", "-o", "x.gif", "--size", "65"], "expected an even number of pixels; give 66"),
        (["turntable", "me", "-o", "x.gif", "--fps", "60"], "--fps: got '60', expected a whole number, 1 to 30"),
        (["info", "none"], "none: neither an avatar's folder nor a bundle"),
        (["info", "me"], "me/avatar.json: damaged"),
        (["paint"], "invalid choice: 'paint'"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOSAR_STORAGE", str(tmp_path))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "avatar.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_angles_may_be_negative() -> None:
    words = light.with_joined_angles(["relight", "me", "--light", "-60,-20.5", "-o", "x.png"])
    assert words == ["relight", "me", "--light=-60,-20.5", "-o", "x.png"]
    assert light.parse("-60,-20.5") == (-60.0, -20.5)
    assert light.parse("studio") == "studio"


def test_info_describes_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = b"# Model card\n\n**Trained on synthetic captures** of a stage;\nothers stand in. Held-out figures.\n"
    heldout = {"start": 3.0, "end": 1.0, "baseline": 2.0}
    about = {
        "preset": "tiny",
        "stages": {"delight": {}},
        "runs": {"delight": {"steps": 160, "heldout": heldout}},
        "data": {"delight": {"lightstage": {"digest": "ab" * 32}}},
    }
    location = str(tmp_path / "bundle")
    digest = bundle.write_files(location, {"MODEL_CARD.md": card, "delight.safetensors": b"0" * 2_000_000}, about)
    assert cli.main(["info", location]) == 0
    said = capsys.readouterr().out
    for words in (digest, "2.0 MB in 2 files", "synthetic captures of a stage; others stand in.", "tiny"):
        assert words in said
    assert re.search(r"delight +2\.0 MB +160 +3, 1, 2 +lightstage abababababab", said)
    assert "Held-out figures" not in said


def test_the_bar_shows_count_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert list(progress_bar.with_bar(["a", "b"], "letters", shown=True)) == ["a", "b"]
    said = capsys.readouterr().err
    assert "2/2" in said
    assert "a second" in said
    assert progress_bar._rate(0.05) == "3.0 a minute"
