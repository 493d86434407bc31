import pytest

from attngan.data.loader import EpochOrder


def flat(order):
    return [index for batch in order for _epoch, index in batch]


def test_every_image_once_in_another_order_each_epoch():
    order = EpochOrder(20, 4, shuffle=True, drop_last=True, seed=3)
    orders = []
    for epoch in range(3):
        order.set_epoch(epoch)
        batches = list(order)
        assert len(batches) == len(order) == 5
        assert {e for batch in batches for e, _index in batch} == {epoch}
        orders.append(flat(order))
        assert sorted(orders[-1]) == list(range(20))
    assert len(set(map(tuple, orders))) == 3
    again = EpochOrder(20, 4, shuffle=True, drop_last=True, seed=3)
    again.set_epoch(2)
    assert flat(again) == orders[2]
    assert flat(EpochOrder(20, 4, shuffle=True, drop_last=True, seed=4)) != orders[0]


def test_last_batch():
    assert [len(b) for b in EpochOrder(10, 4, shuffle=False, drop_last=False)] == [4, 4, 2]
    assert [len(b) for b in EpochOrder(10, 4, shuffle=True, drop_last=True)] == [4, 4]
    unshuffled = EpochOrder(10, 4, shuffle=False, drop_last=False)
    unshuffled.set_epoch(7)
    assert [place for batch in unshuffled for place in batch] == [(0, index) for index in range(10)]


def test_a_training_batch_is_the_same_images_on_any_number_of_devices():
    one = list(EpochOrder(50, 8, shuffle=True, drop_last=True))
    for world in (3, 4):
        orders = [EpochOrder(50, 8, shuffle=True, drop_last=True, rank=rank, world=world) for rank in range(world)]
        several = [list(order) for order in orders]
        assert len(one) == len(several[0])
        for number, batch in enumerate(one):
            assert [place for device in several for place in device[number]] == batch
            for order, device in zip(orders, several, strict=True):
                assert [batch[position] for position in order.rows(number).mine] == device[number]


@pytest.mark.parametrize("images", [13, 18, 19, 41])
def test_evaluation_on_several_devices_sees_every_image_once(images):
    devices = [EpochOrder(images, 6, shuffle=False, drop_last=False, rank=rank, world=3) for rank in range(3)]
    assert sorted(index for device in devices for index in flat(device)) == list(range(images))
    assert all(len(device) == len(list(device)) for device in devices)


def test_a_device_without_a_batch_to_evaluate_sees_one_of_another():
    """Lightning wants every device to come along; whoever gathers knows a batch by its first image."""
    devices = [EpochOrder(7, 6, shuffle=False, drop_last=False, rank=rank, world=3) for rank in range(3)]
    assert [flat(device) for device in devices] == [[0, 1, 2, 3, 4, 5], [6], [0, 1, 2, 3, 4, 5]]


def test_starts_inside_an_epoch():
    order = EpochOrder(20, 4, shuffle=True, drop_last=True)
    whole = list(order)
    order.start = 2
    assert list(order) == whole[2:]
