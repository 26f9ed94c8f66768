"""The Lingua Franca parser: files, the heads of reactors, expressions."""

import pytest
from lf_programs import AT
from lf_trees import body, code, lit, ns, par, reactor, seq, type_, value

from reactornb.lf import syntax as ast
from reactornb.lf.parse import parse
from reactornb.tags import forever, never


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("fast: true", True),
        ("fast: False", False),
        ("timeout: 3 secs", ns(3 * 10**9)),
        ("timeout: forever", ns(forever)),
        ("workers: 4", 4),
        ("scale: -0.5", -0.5),
        ('cmake: "a b"', "a b"),
        ("coordination: de-central", "de-central"),
        ("files: ../include/a.py", "../include/a.py"),
        ("name: true-ish", "true-ish"),
        ("state: timer", "timer"),
        ('"quoted-key": 1', 1),
    ],
)
def test_a_target_property_is_a_number_time_string_truth_value_or_word(written, expected):
    target = parse(f"target Python {{ {written} }} main reactor {{}}", file="f.lf").target
    assert target.name == "Python"
    assert target.properties[0].value == (expected if isinstance(expected, ast.Time) else lit(expected))


def test_target_properties_nest_and_may_end_in_a_comma():
    target = parse(
        """target Python {
            docker: { from: "x", rti: { image: a/b } },
            files: ["a.py", lib/b.py,], # both
            nothing: {}, none: [],
        };
        main reactor {}""",
        file="f.lf",
    ).target
    docker, files, nothing, none = target.properties
    rti = ast.Property("rti", ast.PropertyMap((ast.Property("image", lit("a/b"), **AT),), **AT), **AT)
    assert docker.value == ast.PropertyMap((ast.Property("from", lit("x"), **AT), rti), **AT)
    assert files.value == ast.PropertyList((lit("a.py"), lit("lib/b.py")), **AT)
    assert nothing.value == ast.PropertyMap((), **AT)
    assert none.value == ast.PropertyList((), **AT)


def test_a_program_needs_no_target():
    assert parse("main reactor {}", file="f.lf").target is None


def test_imports_name_reactors_of_files_and_packages():
    first, second = parse(
        'import A, B as C from "lib/a.lf"\nimport D from <robots-2.0/src/D.lf>;\nmain reactor {}', file="f.lf"
    ).imports
    names = (ast.ImportedName("A", "A", **AT), ast.ImportedName("B", "C", **AT))
    assert first == ast.Import(names, "lib/a.lf", **AT)
    assert second == ast.Import((ast.ImportedName("D", "D", **AT),), "robots-2.0/src/D.lf", package=True, **AT)


def test_preambles_stand_in_files_and_in_reactors():
    program = parse("preamble {= a =} private preamble {= b =} reactor R { public preamble {= c =} }", file="f.lf")
    found = [(p.visibility, p.code.text) for p in (*program.preambles, *program.reactors[0].body)]
    assert found == [(None, "a"), ("private", "b"), ("public", "c")]


# ---------------------------------------------------------------- reactors


@pytest.mark.parametrize(
    ("written", "kind", "realtime", "name"),
    [
        ("main reactor", "main", False, None),
        ("main reactor M", "main", False, "M"),
        ("federated reactor", "federated", False, None),
        ("realtime main reactor", "main", True, None),
        ("main realtime reactor R", "main", True, "R"),
        ("reactor R", None, False, "R"),
    ],
)
def test_a_reactor_may_be_main_federated_realtime(written, kind, realtime, name):
    found = reactor(written + " {}")
    assert (found.kind, found.realtime, found.name) == (kind, realtime, name)


def test_the_head_of_a_reactor_has_types_parameters_a_host_and_superclasses():
    found = reactor("reactor R<T, {= U =}, V extends W>(a = 1) at me@some-host.org:8080 extends A, B {}")
    assert [t.text for t in found.type_params] == ["T", "U", "V extends W"]
    assert found.params == (ast.Parameter("a", None, lit(1), **AT),)
    assert found.host == "me@some-host.org:8080"
    assert [name.text for name in found.extends] == ["A", "B"]


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "10.0.0.1:80", "[fe80::1%2]:80", "user@raspberry-pi.local"])
def test_hosts_are_kept_as_written(host):
    assert reactor(f"federated reactor at {host} {{}}").host == host
    (instance,) = body(f"a = new A() at {host};")
    assert instance.host == host


@pytest.mark.parametrize(
    ("written", "kind", "init"),
    [
        ("a", None, None),
        ("a = 1", None, lit(1)),
        ("a: int", "int", None),
        ("a: int = 3", "int", lit(3)),
        ("a(5)", None, seq("(", lit(5))),
        ("a: time(10 ms)", "time", seq("(", ns(10**7))),
        ("a: {= list[int] =} = [1, 2,]", "list[int]", seq("[", lit(1), lit(2))),
        ("a{1, 2}", None, seq("{", lit(1), lit(2))),
        ("a = {= [3] =}", None, code("[3]")),
        ("a: string = 'x'", "string", lit("x")),
    ],
)
def test_parameters_and_states_share_their_forms(written, kind, init):
    expected = type_(kind) if kind else None
    assert reactor(f"reactor R({written}) {{}}").params == (ast.Parameter("a", expected, init, **AT),)
    assert body(f"state {written}") == (ast.State("a", expected, init, **AT),)


def test_a_state_may_be_reset_with_its_mode():
    assert body("reset state a = 1;") == (ast.State("a", None, lit(1), reset=True, **AT),)


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0", lit(0)),
        ("-12", lit(-12)),
        ("1.5", lit(1.5)),
        ("-.5", lit(-0.5)),
        ("3.14e-10", lit(3.14e-10)),
        ("true", lit(True)),
        ("False", lit(False)),
        ('"a // b"', lit("a // b")),
        ("'c'", lit("c")),
        ("'several'", lit("several")),
        ('"""two\nlines"""', lit("two\nlines")),
        (r'"\n\t\x41\u00fc\101\"\N{DIGIT ONE}\q"', lit('\n\tAüA"1\\q')),
        ("forever", ns(forever)),
        ("never", ns(never)),
        ("p", par("p")),
        ("{= f(1) =}", code("f(1)")),
        ("[]", seq("[")),
        ("(1, 2)", seq("(", lit(1), lit(2))),
        ("{p, [1 ms], {= x =}}", seq("{", par("p"), seq("[", ns(10**6)), code("x"))),
    ],
)
def test_expressions(written, expected):
    found = value(written)
    assert found == expected
    assert not isinstance(found, ast.Literal) or type(found.value) is type(expected.value)


@pytest.mark.parametrize(
    ("units", "length_ns"),
    [
        ("ns nsec nsecs", 1),
        ("us usec usecs", 10**3),
        ("ms msec msecs", 10**6),
        ("s sec secs second seconds", 10**9),
        ("min mins minute minutes", 60 * 10**9),
        ("h hour hours", 3600 * 10**9),
        ("d day days", 86400 * 10**9),
        ("wk week weeks", 7 * 86400 * 10**9),
    ],
)
def test_every_spelling_of_a_unit(units, length_ns):
    assert [value(f"7 {unit}") for unit in units.split()] == [ns(7 * length_ns)] * len(units.split())


@pytest.mark.parametrize("between", ["", " ", "\n\n", " // why\n", " /* why */ ", "\t# why\n"])
def test_layout_may_stand_between_number_and_unit(between):
    assert value(f"7{between}ms") == ns(7 * 10**6)


@pytest.mark.parametrize("next_line", ["s = new S()", "s.out -> t.in", "s -> t"])
def test_a_name_on_the_next_line_is_no_unit(next_line):
    state, _ = body(f"state a = 1\n{next_line}")
    assert state.init == lit(1)


def test_brackets_may_nest_deeper_than_programs_need():
    found = value("[" * 60 + "]" * 60)
    for _ in range(59):
        (found,) = found.items
    assert found == seq("[")
