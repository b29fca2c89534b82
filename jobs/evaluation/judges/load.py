"""Load the judges: networks that nothing of the project was trained on or fitted to. For evaluation only."""

from dataclasses import dataclass

from mosar.jobs.evaluation.judges import fetch
from mosar.jobs.evaluation.judges.landmarks68 import Landmarks68
from mosar.jobs.evaluation.judges.recognition import Recognition
from mosar.platform import storage


@dataclass(frozen=True)
class Judges:
    """Face recognition, and the 68-point detector."""

    recognition: Recognition
    landmarks68: Landmarks68


def load(storage_root: str | None = None) -> Judges | None:
    """Load the judges of a storage root; None, with one line printed, if their files were not fetched.

    Raises:
        DataError: a file was altered.
    """
    folder = storage.join(storage.root(storage_root), fetch.FOLDER)
    if not all(storage.exists(storage.join(folder, name)) for name in fetch.FACE_API.members):
        print(f"{folder}: no judges, so likeness_* and judge_* are null; fetch them with python jobs/fetch_judges.py")
        return None
    return Judges(Recognition(folder), Landmarks68(folder))
