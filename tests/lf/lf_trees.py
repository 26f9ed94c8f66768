"""Short names for the syntax trees that tests expect, and for parsing pieces of a program."""

from lf_programs import AT

from reactornb.lf import syntax as ast
from reactornb.lf.parse import parse


def lit(value):
    return ast.Literal(value, **AT)


def ns(value):
    return ast.Time(value, **AT)


def par(name):
    return ast.ParamRef(name, **AT)


def code(text):
    return ast.Code(text, **AT)


def ref(name, **more):
    *container, variable = name.split(".")
    return ast.VarRef(variable, container[0] if container else None, **more, **AT)


def type_(text):
    return ast.Type(text, **AT)


def seq(bracket, *items):
    return ast.ListExpr(items, bracket, **AT)


def width(*terms):
    return ast.Width(terms, **AT)


def on(kind):
    return ast.Builtin(kind, **AT)


def reactor(text):
    """The one reactor of a program."""
    (only,) = parse(text, file="f.lf").reactors
    return only


def body(text):
    """What a reactor with this body holds."""
    return reactor(f"main reactor {{\n{text}\n}}").body


def value(text):
    """The expression written so."""
    (state,) = body(f"state x = {text}")
    return state.init
