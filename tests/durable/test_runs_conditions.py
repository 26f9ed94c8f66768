"""Conditions on runs: what they mean, and that nothing of them is executed."""

import random  # noqa: TID251 - makes words, no reactor

import pytest

from reactornb.durable.expressions import Condition, ConditionError, Unknown

VALUES = {
    "a": 1,
    "b": 2.5,
    "name": "ppo",
    "x.y": 3,
    "rollouts[1].eps": 0.1,
    ("last", "return"): 7.0,
    "none": None,
    "list": ["p", "q"],
}


def lookup(name):
    if name not in VALUES:
        raise Unknown
    return VALUES[name]


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ("a == 1", True),
        ("a + 1 == 2 and b * 2 == 5 and x.y // 2 == 1 and x.y % 2 == 1 and a - 2 == -1 and b / 2 > 1", True),
        ("0 < a < b <= 3", True),
        ("0 < b < a", False),
        ("not a == 1", False),
        ("name in ('ppo', 'dqn') and name not in ['a2c']", True),
        ("'p' in list", True),
        ("rollouts[1].eps < 0.2", True),
        ("last['return'] >= 7", True),
        ("last['reward'] >= 7", False),
        ("none is None and a is not None", True),
        ("missing == 1", False),
        ("missing == 1 or a == 1", True),
        ("not missing == 1", True),
        ("name < 3", False),
        ("name * 3 == 'ppoppoppo'", False),
        ("a / 0 == 1", False),
        ("-name == 1", False),
        ("a", True),
        ("'o' in a", False),
        ("a == 1\n and b > 1", None),
        (" ( a == 1 ) ", True),
    ],
)
def test_a_condition_means_what_it_means_in_python_and_what_is_missing_or_cannot_be_compared_is_false(words, holds):
    if holds is None:
        with pytest.raises(ConditionError):
            Condition(words)
    else:
        assert Condition(words).holds(lookup) is holds


@pytest.mark.parametrize(
    "words",
    [
        "__import__('os').system('true')",
        "a.__class__()",
        "[x for x in (1,)]",
        "lambda: 1",
        "a if b else 1",
        "f'{a}'",
        "a ** 9",
        "a << 9",
        "(b := 1)",
        "{1: 2}",
        "last[a]",
        "b''",
        "a == ...",
        "await a",
        "yield",
        "*a, b",
        "a =",
        "",
        "a\0b",
        "1" + "+1" * 1000,
        "not " * 400 + "a",
        "(" * 150 + "a" + ")" * 150 + "+" * 60 + "a",
        "a" * 3000,
    ],
)
def test_what_is_no_condition_is_refused_before_anything_is_asked(words):
    with pytest.raises(ConditionError):
        Condition(words)


def test_an_error_says_which_part_and_where():
    with pytest.raises(ConditionError, match=r"'f\(a\)', at character 12 of") as caught:
        Condition("a == 1 and f(a) == 2")
    assert caught.value.column == 12
    assert caught.value.words == "a == 1 and f(a) == 2"
    with pytest.raises(ConditionError, match="is no condition"):
        Condition("a <")


def test_an_attribute_of_a_value_is_never_looked_up():
    class Trap:
        def __getattr__(self, name):
            raise AssertionError(name)

    asked = []

    def trapped(name):
        asked.append(name)
        return Trap()

    condition = Condition("a.b.c == 1")
    assert condition.names == ["a.b.c"]
    assert condition.holds(trapped) is False
    assert asked == ["a.b.c"]


def test_any_words_are_a_condition_or_refused_with_the_one_error():
    draw = random.Random(5)
    pieces = [
        "a",
        "b",
        "name",
        "(",
        ")",
        "[",
        "]",
        "1",
        "'p'",
        "==",
        "<",
        "and",
        "or",
        "not",
        "in",
        "+",
        "*",
        ".",
        ",",
        " ",
        "last",
        "\n",
        "é",
        "#",
        "{",
        ":",
    ]
    seen = {True: 0, False: 0}
    for _ in range(3_000):
        words = " ".join(draw.choice(pieces) for _ in range(draw.randrange(1, 9)))
        try:
            condition = Condition(words)
        except ConditionError:
            seen[False] += 1
        else:
            assert condition.holds(lookup) in (True, False)
            seen[True] += 1
    assert min(seen.values()) > 100
