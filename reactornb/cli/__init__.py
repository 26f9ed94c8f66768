"""The command line `reactornb`, and what `python -m reactornb.rl` shares with it.

- `command_line` parses the command line, `commands` are the commands, `runs` those of `reactornb runs`;
- `signals` ends a command in order, `restart` starts the interpreter again as results that repeat need it;
- `console` writes lines on stderr, `progress` waits for a run and shows its progress, `report` reports on a finished one.

Only the standard library is imported when a command starts: `reactornb --help` stays quick.
"""
