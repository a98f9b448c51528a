import pytest

from envoyassert.compare.runs import Boundary, GoodOrBad, bisect, path_between
from envoyassert.versions import between, newest_of_each_minor, releases, since

PUBLISHED = [
    "1.40.0",
    "1.39.10",
    "1.39.9",
    "1.36.2.post1",
    "1.37.0",
    "1.36.4",
    "1.9.9",
    "1.41.0rc1",
]


def test_releases_are_in_order_without_what_is_none():
    assert releases(PUBLISHED) == ["1.9.9", "1.36.4", "1.37.0", "1.39.9", "1.39.10", "1.40.0"]


def test_newest_patch_of_each_minor_from_a_version_on():
    chosen = newest_of_each_minor(since(releases(PUBLISHED), "1.36.4"))
    assert chosen == ["1.36.4", "1.37.0", "1.39.10", "1.40.0"]


@pytest.mark.parametrize(
    "first, last, way",
    [
        ("1.36.4", "1.39.9", ["1.36.4", "1.37.0", "1.39.9"]),
        ("1.39.9", "1.36.4", ["1.39.9", "1.37.0", "1.36.4"]),
        # Ends that are not published are run anyway.
        ("1.36.5", "1.39.8", ["1.36.5", "1.37.0", "1.39.8"]),
    ],
)
def test_way_between_versions_leads_in_either_direction(first, last, way):
    assert between(releases(PUBLISHED), first, last) == way


@pytest.mark.parametrize(
    "named, way",
    [
        (["a", "b", "c", "d"], ["b", "c", "d"]),
        (["d", "c", "b", "a"], ["b", "c", "d"]),
        (["c"], ["b", "c", "d"]),
        (["d", "x", "y"], ["b", "x", "y", "d"]),
    ],
)
def test_candidates_lead_from_good_to_bad(named, way):
    assert path_between("b", "d", named) == way


def search(size, first_bad, skipped=()):
    names = [f"v{number}" for number in range(size)]
    asked = []

    def test(name):
        asked.append(name)
        number = int(name[1:])
        if number in skipped:
            return GoodOrBad.SKIPPED
        return GoodOrBad.BAD if number >= first_bad else GoodOrBad.GOOD

    return bisect(names, test), asked


@pytest.mark.parametrize("size", [2, 3, 7, 64, 100])
def test_every_first_bad_one_is_found_in_few_steps(size):
    for first_bad in range(1, size):
        found, asked = search(size, first_bad)
        assert found == Boundary(f"v{first_bad - 1}", f"v{first_bad}", ())
        assert len(asked) <= size.bit_length()
        assert len(set(asked)) == len(asked)


def test_skipped_ones_beside_the_boundary_leave_a_range():
    found, asked = search(10, 6, skipped=(4, 5, 8))
    assert found == Boundary("v3", "v6", ("v4", "v5"))
    assert len(set(asked)) == len(asked)


def test_skipped_ones_elsewhere_do_not_matter():
    assert search(10, 8, skipped=(4, 5))[0] == Boundary("v7", "v8", ())
    assert search(3, 2, skipped=(1,))[0] == Boundary("v0", "v2", ("v1",))
