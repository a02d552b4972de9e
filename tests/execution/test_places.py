import pytest

from evoprune.errors import ConfigError
from evoprune.execution.places import VISIBLE, Places, cuda_names


@pytest.mark.parametrize(
    ("workers", "devices", "taken"),
    [(3, (), [0, 0, 0]), (4, ("0", "1"), [0, 1, 0, 1]), (3, ("0", "1"), [0, 1, 0]), (2, ("5", "6", "7"), [0, 1])],
)
def test_places_go_to_the_device_with_the_fewest_workers(workers, devices, taken):
    places = Places(workers, devices)
    assert [places.take() for _ in range(workers)] == taken
    assert (places.take(), places.total) == (None, workers)


def test_place_that_was_given_back_is_taken_again():
    places = Places(4, ("0", "1"))
    taken = [places.take() for _ in range(4)]
    places.leave(taken[1])
    assert [places.take(), places.take()] == [taken[1], None]


def test_device_that_was_shrunk_has_one_place_fewer_for_good():
    places = Places(4, ("0", "1"))
    taken = [places.take() for _ in range(4)]
    places.shrink(0)
    for place in taken:
        places.leave(place)
    assert sorted(places.take() for _ in range(places.total)) == [0, 1, 1]
    assert [places.can_shrink(device) for device in (0, 1)] == [False, True]


def test_worker_sees_its_device_alone():
    assert Places(2, ("3", "GPU-5ee")).environment(1) == {VISIBLE: "GPU-5ee"}
    assert Places(2).environment(0) == {}


@pytest.mark.parametrize(
    ("wanted", "count", "visible", "names"),
    [
        (None, 3, None, ("0", "1", "2")),
        ((2, 0), 3, None, ("2", "0")),
        (None, 2, "4,7", ("4", "7")),
        ((1,), 2, "GPU-5ee, MIG-1f", ("MIG-1f",)),
        (None, 0, "", ()),
    ],
    ids=["all", "some", "all that are visible", "by name", "none"],
)
def test_cuda_names_count_as_torch_does(wanted, count, visible, names):
    assert cuda_names(wanted, count, visible) == names


def test_cuda_names_refuse_devices_that_are_not_there():
    with pytest.raises(ConfigError, match="names 2, 5, but torch sees 2 CUDA devices"):
        cuda_names((0, 2, 5), 2, None)
