import pytest

from evoprune.errors import ConfigError
from evoprune.execution.pool.device_slots import VISIBLE, DeviceSlots, cuda_names


@pytest.mark.parametrize(
    ("workers", "devices", "taken"),
    [(3, (), [0, 0, 0]), (4, ("0", "1"), [0, 1, 0, 1]), (3, ("0", "1"), [0, 1, 0]), (2, ("5", "6", "7"), [0, 1])],
)
def test_slots_go_to_the_device_with_the_fewest_workers(workers, devices, taken):
    slots = DeviceSlots(workers, devices)
    assert [slots.take() for _ in range(workers)] == taken
    assert (slots.take(), slots.total) == (None, workers)


def test_slot_that_was_given_back_is_taken_again():
    slots = DeviceSlots(4, ("0", "1"))
    taken = [slots.take() for _ in range(4)]
    slots.leave(taken[1])
    assert [slots.take(), slots.take()] == [taken[1], None]


def test_device_that_was_shrunk_has_one_slot_fewer_for_good():
    slots = DeviceSlots(4, ("0", "1"))
    taken = [slots.take() for _ in range(4)]
    slots.shrink(0)
    for device in taken:
        slots.leave(device)
    assert sorted(slots.take() for _ in range(slots.total)) == [0, 1, 1]
    assert [slots.can_shrink(device) for device in (0, 1)] == [False, True]


def test_worker_sees_its_device_alone():
    assert DeviceSlots(2, ("3", "GPU-5ee")).environment(1) == {VISIBLE: "GPU-5ee"}
    assert DeviceSlots(2).environment(0) == {}


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
