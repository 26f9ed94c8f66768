"""The notebook: the session behind the magics, cells that declare reactors, displays, and how errors are shown.

`load` is called once by `%load_ext reactornb`; everything a magic does is a method of `Session`. Only this package and the
magics import IPython.
"""

from reactornb.notebook.load import current_session, load, unload
from reactornb.notebook.session import Session

__all__ = ["Session", "current_session", "load", "unload"]
