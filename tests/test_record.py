"""Our records behave as the standard library's dataclasses do, in all that we use of them."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest

from ccremedy import record

BOTH = pytest.mark.parametrize("library", [dataclasses, record], ids=["the standard library", "ours"])


def classes(library: ModuleType) -> tuple[Any, Any, Any]:
    @library.dataclass(frozen=True)
    class Base:
        path: str

    @library.dataclass(frozen=True)
    class Derived(Base):
        name: str
        last: bool = False
        note: str = library.field(default="", compare=False)

    @library.dataclass
    class Loose:
        names: list[str] = library.field(default_factory=list)
        count: int = 0

    return Base, Derived, Loose


@BOTH
def test_fields_come_in_order_those_of_the_base_first(library: ModuleType) -> None:
    _, derived, _ = classes(library)
    assert [(each.name, each.type) for each in library.fields(derived)] == [
        ("path", "str"), ("name", "str"), ("last", "bool"), ("note", "str"),
    ]  # fmt: skip
    made = derived("/x", "n", note="seen")
    assert (made.path, made.name, made.last, made.note) == ("/x", "n", False, "seen")


@BOTH
def test_equality_is_by_class_and_by_what_is_compared(library: ModuleType) -> None:
    base, derived, _ = classes(library)
    assert derived("/x", "n", note="a") == derived("/x", "n", note="b")
    assert hash(derived("/x", "n", note="a")) == hash(derived("/x", "n", note="b"))
    assert derived("/x", "n") != derived("/x", "m")
    assert base("/x") != derived("/x", "n")


@BOTH
def test_a_frozen_record_does_not_change(library: ModuleType) -> None:
    _, derived, loose = classes(library)
    made = derived("/x", "n")
    with pytest.raises(AttributeError):
        made.name = "m"
    with pytest.raises(AttributeError):
        del made.name
    assert library.replace(made, name="m") == derived("/x", "m")
    free = loose()
    free.count = 3
    assert free.count == 3


@BOTH
def test_each_record_has_a_list_of_its_own(library: ModuleType) -> None:
    _, _, loose = classes(library)
    one, other = loose(), loose()
    one.names.append("x")
    assert other.names == []
    with pytest.raises(TypeError):
        hash(one)


@BOTH
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        (("/x",), {}),
        (("/x", "n", True, "", 5), {}),
        (("/x", "n"), {"wrong": 1}),
        (("/x", "n"), {"name": "m"}),
    ],
    ids=["none", "too few", "too many", "an unknown one", "one twice"],
)
def test_wrong_values_are_refused(library: ModuleType, values: tuple[Any, ...], named: dict[str, Any]) -> None:
    _, derived, _ = classes(library)
    with pytest.raises(TypeError):
        derived(*values, **named)


@BOTH
def test_it_says_what_it_holds(library: ModuleType) -> None:
    _, derived, _ = classes(library)
    assert repr(derived("/x", "n")).endswith("Derived(path='/x', name='n', last=False, note='')")
