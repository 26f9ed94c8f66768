"""What the commands share: lines on stderr, signals, the progress of a run, the report on a finished run.

`reactornb` (`__main__.py`) and `python -m reactornb.rl` are the commands. This package knows nothing of program files, and imports
nothing when a command starts but the standard library: `reactornb --help` stays quick.
"""
