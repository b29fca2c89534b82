"""A run's record of the device and the kernels that its last bits depend on."""

import warnings
from pathlib import Path

import pytest
import torch

from mosar.platform.runs import run
from mosar.platform.training import device_info

CPU = torch.device("cpu")


def test_another_processor_is_recorded_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path)
    assert device_info.note(place, 0, CPU) is None
    assert device_info.note(place, 10, CPU) is None
    here = device_info.name(CPU)
    monkeypatch.setattr(device_info, "name", lambda device: "another, AVX2")
    assert device_info.note(place, 20, CPU) == (
        f"trained on {here} until now, continues on another, AVX2: its weights may differ in their last bits"
    )
    assert device_info.note(place, 30, CPU) is None
    assert [line["hardware"] for line in run.metrics(place)] == [here, "another, AVX2"]


def test_kernels_without_a_deterministic_version_are_named() -> None:
    def work() -> torch.Tensor:
        return torch.zeros(4).put_(torch.tensor([1, 1]), torch.tensor([2.0, 3.0]))

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        found, warning = device_info.rounding(work)
        assert warning == "no deterministic kernel for put_: runs agree up to rounding, not to the last bit"
        assert found.sum() > 0
        assert device_info.rounding(lambda: torch.ones(2).sum())[1] is None
        with pytest.warns(UserWarning, match="something else"):  # which is not swallowed
            assert device_info.rounding(lambda: warnings.warn("something else", stacklevel=1))[1] is None
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
