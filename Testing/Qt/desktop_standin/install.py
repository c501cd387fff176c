"""Put the stand-ins where a module looks for them, and take them away again."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from desktop_standin import ctk_widgets, qmrml_widgets, scripted_module
from desktop_standin.qt_module import make_qt_module

_ABSENT = object()


@dataclass
class Desktop:
    """What the panels did to the desktop, for a test to look at.

    Attributes
    ----------
    errors : list of str
        Texts of error dialogs.
    ensured : list of (list of str, str)
        Requirements handed to ``slicer.packaging.pip_ensure`` and who asked.
    warnings : list of str
        What Qt complained about.
    """

    slicer: ModuleType
    errors: list[str] = field(default_factory=list)
    ensured: list[tuple[list[str], str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def load_module(self, path: Path) -> tuple[Any, Any]:
        """Load a scripted module file as Slicer does; return its module object and its widget, set up."""
        name = path.stem
        spec = importlib.util.spec_from_file_location(name, path)
        python_module = importlib.util.module_from_spec(spec)
        sys.modules[name] = python_module
        spec.loader.exec_module(python_module)
        module = getattr(python_module, name)(scripted_module.ModuleParent(path=str(path)))
        scripted_module.ScriptedLoadableModuleWidget.module_paths[name] = path
        widget = getattr(python_module, f"{name}Widget")()
        return module, widget

    def grab(self, widget: QtWidgets.QWidget, path: Path, width: int = 460) -> None:
        """Save a picture of a widget."""
        widget.resize(width, max(widget.sizeHint().height(), 600))
        widget.show()
        QtWidgets.QApplication.processEvents()
        if not widget.grab().save(str(path)):
            raise OSError(f"cannot write {path}")


def load_ui(path: str) -> QtWidgets.QWidget:
    """Load a ``.ui`` file with the stand-in widgets, as ``slicer.util.loadUI`` does with the real ones."""
    loader = QtUiTools.QUiLoader()
    for widget in (*ctk_widgets.WIDGETS, *qmrml_widgets.WIDGETS):
        loader.registerCustomWidget(widget)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RuntimeError(f"Could not load UI file: file not found {path}") from error
    # the real widget's own flags; Qt for Python cannot declare such a property
    content = re.sub(rb'<property name="filters">\s*<set>ctkPathLineEdit::Dirs</set>\s*</property>', b"", content)
    file = QtCore.QBuffer()
    file.setData(content)
    file.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    widget = loader.load(file)
    file.close()
    if widget is None:
        raise RuntimeError(f"Could not load UI file {path}: {loader.errorString()}")
    return widget


def child_widget_variables(widget: QtWidgets.QWidget) -> SimpleNamespace:
    """Return every named child as an attribute, as ``slicer.util.childWidgetVariables`` does."""
    children = widget.findChildren(QtCore.QObject)
    return SimpleNamespace(**{child.objectName(): child for child in children if child.objectName()})


def _packaging(desktop: Desktop) -> ModuleType:
    module = ModuleType("slicer.packaging")

    def pip_ensure(requirements: list, requester: str | None = None, **options: object) -> None:
        desktop.ensured.append(([str(requirement) for requirement in requirements], requester))

    module.pip_ensure = pip_ensure
    return module


@contextmanager
def installed(slicer: ModuleType) -> Iterator[Desktop]:
    """Turn slicer-core's ``slicer`` into a desktop for the time of a test.

    Parameters
    ----------
    slicer : module
        slicer-core's, with a scene in ``slicer.mrmlScene``.
    """
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    desktop = Desktop(slicer)
    i18n = ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    scripted = scripted_module.make_scripted_module()
    packaging = _packaging(desktop)
    modules = {
        "qt": make_qt_module(),
        "ctk": ctk_widgets.make_ctk_module(),
        "slicer.i18n": i18n,
        "slicer.packaging": packaging,
        "slicer.ScriptedLoadableModule": scripted,
    }
    app = SimpleNamespace(processEvents=application.processEvents, testingEnabled=lambda: True)
    attributes = [
        (slicer, "app", app),
        (slicer, "i18n", i18n),
        (slicer, "packaging", packaging),
        (slicer, "ScriptedLoadableModule", scripted),
        (slicer.util, "loadUI", load_ui),
        (slicer.util, "childWidgetVariables", child_widget_variables),
        (slicer.util, "errorDisplay", lambda text, *args, **kwargs: desktop.errors.append(text)),
        (slicer.util, "setSliceViewerLayers", lambda **layers: None),
        (slicer.util, "resetSliceViews", lambda: None),
    ]
    attributes += [(slicer, widget.__name__, widget) for widget in qmrml_widgets.WIDGETS]
    former_modules = {name: sys.modules.get(name, _ABSENT) for name in modules}
    former_attributes = [(owner, name, getattr(owner, name, _ABSENT)) for owner, name, _ in attributes]
    former_handler = QtCore.qInstallMessageHandler(lambda kind, context, text: desktop.warnings.append(text))
    sys.modules.update(modules)
    for owner, name, value in attributes:
        setattr(owner, name, value)
    try:
        yield desktop
    finally:
        QtCore.qInstallMessageHandler(former_handler)
        for owner, name, value in former_attributes:
            delattr(owner, name) if value is _ABSENT else setattr(owner, name, value)
        for name, value in former_modules.items():
            if value is _ABSENT:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = value
        # panels that imported the stand-ins must not outlive them
        for name in ("DoseEngine", "Optimizer", "RTPlanning"):
            panels = [module for module in sys.modules if module.startswith(f"{name}Lib.widget")]
            for module in (name, *panels):
                sys.modules.pop(module, None)
