"""A controller that dies before it begins is started again, and no other."""

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError

from mosar.platform.training import failure


@pytest.mark.parametrize(("ran", "deaths", "starts"), [(False, 2, 3), (False, 9, 4), (True, 9, 1)])
def test_only_what_never_ran_is_started_again(
    ran: bool, deaths: int, starts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def train() -> None:
        seen.append(1)
        if len(seen) <= deaths:
            raise ActorDiedError(ActorDiedErrorContext(actor_id=bytes(16), never_started=not ran))

    if starts <= deaths:
        with pytest.raises(ActorDiedError):
            failure.begin(train, "run", retries=3)
    else:
        failure.begin(train, "run", retries=3)
    assert len(seen) == starts
    assert capsys.readouterr().err.count("starting it again") == starts - 1
