"""Reactors without a run: instances as a run makes them, on which a test calls what it likes."""

from reactornb.durable.objects import Known, capture, differences, rehearse, restore
from reactornb.graph import assemble
from reactornb.runtime.codec import decode, encode
from reactornb.runtime.instances import make_instance


def standing(root, seed=1):
    """The instances of a program, in the order of its graph, after `begin` of each that has one."""
    made = [make_instance(node, None, seed) for node in assemble(root()).reactors]
    for instance in made:
        if hasattr(type(instance), "begin"):
            instance.begin()
    return made


def known_of(instances):
    return Known({type(one) for one in instances})


def carried(instances, fresh):
    """What `instances` hold, as bytes and back, put into `fresh`; rehearsed before, and compared after."""
    known = known_of(instances)
    tree = rehearse(instances, standing(type(instances[0])), known)
    strict = capture(instances, known)
    assert differences(tree, strict) == []
    data = encode(strict).to_bytes()
    restore([decode(data)], fresh, known_of(fresh))
    again = capture(fresh, known, strict=False)
    assert differences(strict, again) == []
    return fresh


def carried_one(root, work):
    """The one reactor of a program, on which `work` was called, and its restored twin."""
    (one,) = standing(root)
    work(one)
    (other,) = carried([one], standing(root))
    return one, other
