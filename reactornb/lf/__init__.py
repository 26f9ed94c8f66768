"""Lingua Franca programs: parsed, built into the same declarations as Python code, run by the same scheduler."""

from reactornb.lf.check import Problem, check
from reactornb.lf.parse import parse, parse_file
from reactornb.lf.program import LFProgram, load, loads

__all__ = ["LFProgram", "Problem", "check", "load", "loads", "parse", "parse_file"]
