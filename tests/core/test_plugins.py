"""Names that bring objects, and names that other packages register."""

import pickle

import pytest
from foreign import LargestEntry, register

from linpoison.core import InputError
from linpoison.core.plugins import Named, named, offered, stated


def name_of(thing):
    return type(thing).__name__


def test_objects_get_distinct_names_beside_the_names_that_are_taken():
    things = [LargestEntry(), "LargestEntry-2", "l2", LargestEntry(scale=2.0)]
    names = named(things, "defences", name_of)
    assert names == ("LargestEntry", "LargestEntry-2", "l2", "LargestEntry-3")
    assert [isinstance(name, Named) for name in names] == [True, False, False, True]
    assert names[3].thing.scale == 2.0
    assert named({"mine": things[0], "l2": None}, "defences", name_of) == ("mine", "l2")


@pytest.mark.parametrize("name", ["a/b", "", "none", "all", "-x", ".hidden", "a b", "é", 3])
def test_names_are_safe_in_the_name_of_a_file(name):
    with pytest.raises(InputError, match="names of defences that are safe in the name of a file, got"):
        named({name: LargestEntry()}, "defences", name_of)


def test_what_cannot_be_pickled_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^expected defences that can be pickled, .*, got LargestEntry \([^\n]*$"):
        named([LargestEntry(scale=lambda: 1)], "defences", name_of)


def test_a_name_keeps_its_object_in_another_process():
    copy = pickle.loads(pickle.dumps(Named("mine", LargestEntry(scale=3.0))))
    assert (copy, type(copy), copy.thing.scale) == ("mine", Named, 3.0)


def test_what_results_depend_on_is_the_class_and_the_parameters():
    told = stated("defenses", Named("mine", LargestEntry(scale=3.0)))
    assert told.startswith("mine: LargestEntry(scale=3.0) [foreign, ")
    assert told == stated("defenses", Named("mine", LargestEntry(scale=3.0)))
    assert told != stated("defenses", Named("mine", LargestEntry(scale=3.5)))


def test_another_package_offers_by_entry_point(tmp_path, monkeypatch):
    register(tmp_path, defenses={"largest": "foreign:LargestEntry", "broken": "foreign:Missing"})
    monkeypatch.syspath_prepend(tmp_path)
    assert offered("defenses", "largest") is LargestEntry
    assert offered("attacks", "largest") is None
    assert stated("defenses", "largest") == "largest (foreign 1.5)"
    with pytest.raises(InputError, match="'broken' of foreign 1.5 as an object to import, got AttributeError"):
        offered("defenses", "broken")


def test_two_packages_with_one_name_are_refused(tmp_path, monkeypatch):
    for package in ("one", "two"):
        register(tmp_path, package, defenses={"largest": "foreign:LargestEntry"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"one package .* 'largest' .*, got one 1.5 and two 1.5"):
        offered("defenses", "largest")
