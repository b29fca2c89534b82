import re
import shutil
from html.parser import HTMLParser

import pytest

from mosar.jobs import hydra_main
from mosar.jobs.inspection import dataset_stats
from mosar.jobs.show_shards import ShowShards, main
from mosar.platform.data.manifest import Manifest


def run(*arguments):
    return hydra_main.run(main, ShowShards, "show_shards", arguments)


class Words(HTMLParser):
    """Collects the text, and checks that every opened element is closed."""

    def __init__(self):
        super().__init__()
        self.text, self.open = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize(("name", "samples"), [("virtual-tiny", 3), ("wild-tiny", 2)])
def test_the_card_of_a_data_set(storage, tmp_path, name, samples, capsys):
    shutil.copytree(storage / "data" / name, tmp_path / "data" / name)
    assert run(f"data={name}", f"storage={tmp_path}") == 0
    assert "card.html" in capsys.readouterr().out
    content = (tmp_path / "data" / name / "card.html").read_text()
    words = Words()
    words.feed(content)
    assert words.open == []
    text = " ".join(words.text)
    for expected in ("validation", "CC0-1.0", "typology angle", "light", "Recipe"):
        assert expected in text
    assert text.count("Read from all samples") == 1
    assert len(re.findall("data:image/jpeg;base64,", content)) == (2 if samples == 3 else 1)
    assert "http" not in content  # no external resources


def test_facts_are_spread_evenly(storage):
    found = Manifest(str(storage / "data" / "virtual-tiny"))
    assert [len(indices) for _, _, indices in dataset_stats.evenly_over(found, 2)] == [1, 1]
    known = dataset_stats.gather(found, 100)
    assert len(known) == 3
    assert {f.split for f in known} == {"train", "validation"}
    for fact in known:
        assert abs(fact.yaw) <= 65
        assert fact.distance_mm > 300
        assert fact.skin[0] > fact.skin[2]
        assert fact.licence == "CC0-1.0"


def test_tones_go_from_light_to_dark():
    measured = {
        "Japanese": (0.473, 0.279, 0.203),
        "South Asian": (0.346, 0.197, 0.129),
        "African": (0.186, 0.098, 0.064),
    }
    assert [dataset_stats.tone(colour) for colour in measured.values()] == ["intermediate", "tan", "dark"]
