import pytest
import torch

from mosar.errors import DataError
from mosar.models.networks.unet import UNetConfig
from mosar.models.stages.segmentation import Config, released
from mosar.models.stages.segmentation.inference import classify
from mosar.models.stages.segmentation.network import Segmentation


def test_a_released_network_is_read_again(tmp_path):
    torch.manual_seed(0)
    module = Segmentation(Config(crop_size=48, network=UNetConfig(width=8, levels=2)))
    for value in module.parameters():
        torch.nn.init.normal_(value, std=0.2)
    path = tmp_path / "released.safetensors"
    path.write_bytes(released.to_file(module))
    again = released.load(path)
    assert again.config == module.config
    assert not again.training
    crop, points = torch.rand(1, 3, 64, 64), 64 * torch.rand(1, 478, 2)
    found, expected = classify(again, crop, points), classify(module.eval(), crop, points)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, atol=0.001, rtol=0)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(1, 64, 64))
    assert path.read_bytes() == released.to_file(module)


@pytest.mark.parametrize("content", [None, b"", b"no weights" * 20])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "released.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="export_weights"):
        released.load(path)
