"""`.ci/setup.py` and its steps as one namespace, for the tests of set-up."""

import importlib.util
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / ".ci"


class SetupScript:
    """Every name of the script and of its steps; setting one sets it in each module that has it, as if all were one file."""

    def __init__(self, modules):
        vars(self)["_modules"] = modules

    def __getattr__(self, name):
        for module in self._modules:
            if name in vars(module):
                return vars(module)[name]
        raise AttributeError(name)

    def __setattr__(self, name, value):
        modules = [module for module in self._modules if name in vars(module)]
        for module in modules:
            setattr(module, name, value)
        if not modules:
            vars(self)[name] = value


def load():
    """The script, executed anew: it reads the environment when it is imported."""
    old = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "steps"}
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("reactornb_setup", FOLDER / "setup.py")
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        steps = [sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "steps"]
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.update(old)
    return SetupScript([script, *steps])
