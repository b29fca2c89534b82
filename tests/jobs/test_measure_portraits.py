import cv2
import numpy as np
import pytest

from mosar.jobs import hydra_main
from mosar.jobs.measure_portraits import MeasurePortraits, main
from mosar.jobs.sources.photographs import gives_statistics, split_of


def test_photographs_that_give_statistics_are_of_the_training_split():
    names = [f"A{i:06d}" for i in range(40)] + [f"photo {i}" for i in range(400)]
    giving = [n for n in names if gives_statistics(n)]
    assert all(split_of(n) == "train" for n in giving)
    assert 0.5 < len(giving) / len(names) < 0.7
    assert gives_statistics("A000015")
    assert not gives_statistics("A000016")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "folder: missing"), (("folder=IN", "captures=3"), "captures"), (("folder=IN",), "0 training photographs")],
)
def test_too_few_photographs_are_a_one_line_error(arguments, message, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    cv2.imwrite(str(folder / "A000011.png"), np.full((80, 80, 3), 90, np.uint8))
    given = [a.replace("IN", str(folder)) for a in arguments]
    run = hydra_main.run(main, MeasurePortraits, "measure_portraits", [*given, f"output={tmp_path / 'out.json'}"])
    assert run == hydra_main.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("out*"))
