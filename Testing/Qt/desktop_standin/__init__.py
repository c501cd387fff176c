"""Stand-ins for what desktop Slicer adds to slicer-core: module ``qt``, ctk and qMRML widgets, scripted modules.

They run the module panels on PySide6 in a test. They do not prove what the real ctk and qMRML widgets or PythonQt do,
so panels keep to calls that both know.
"""

from desktop_standin.folding import click_title
from desktop_standin.heartbeat import Heartbeat
from desktop_standin.install import Desktop, installed

__all__ = ["Desktop", "Heartbeat", "click_title", "installed"]
