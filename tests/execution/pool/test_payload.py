import pytest

from evoprune.execution.pool.payload import Payload, fetch


@pytest.fixture
def payload():
    payload = Payload(b"x" * 1_000_000)
    yield payload
    payload.close()


def test_payload_is_handed_out_to_everyone_who_asks(payload):
    assert [len(fetch(payload.address)) for _ in range(3)] == [1_000_000] * 3


def test_payload_is_gone_when_it_is_closed_twice(payload):
    payload.close()
    payload.close()
    with pytest.raises(OSError, match=r"refused|No such file"):
        fetch(payload.address)
