import dataclasses

import pytest


@pytest.fixture
def fields(head):
    """Fields of the default head, as passed to ``head_bytes``."""
    return {f.name: getattr(head, f.name) for f in dataclasses.fields(head) if f.name != "digest"}
