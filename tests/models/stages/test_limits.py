from types import SimpleNamespace

import pytest

from mosar.errors import ConfigError
from mosar.models.stages.limits import at_least, shares

CONFIG = SimpleNamespace(width=2, weight=0.0, share=1.0, most=1.5)


def test_values_within_their_limits_pass():
    at_least(CONFIG, 2, "width")
    at_least(CONFIG, 0, "weight", "width")
    shares(CONFIG, "share", "weight")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: at_least(CONFIG, 3, "width"), r"model.width: got 2, expected at least 3"),
        (lambda: at_least(SimpleNamespace(weight=-0.5), 0, "weight"), r"model.weight: got -0.5, expected 0 or more"),
        (lambda: shares(CONFIG, "share", "most"), r"model.most: got 1.5, expected a share in \[0, 1\]"),
        (lambda: shares(CONFIG, "share", whole=False), r"model.share: got 1, expected a share in \[0, 1\)"),
    ],
)
def test_others_are_named(check, message):
    with pytest.raises(ConfigError, match=message):
        check()
