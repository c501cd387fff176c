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

from desktop_standin import application, ctk_widgets, parameter_node, qmrml_widgets, scripted_module
from desktop_standin.qt_module import make_qt_module

_ABSENT = object()


@dataclass
class Desktop:
    """What the panels did to the desktop, for a test to look at.

    Attributes
    ----------
    errors : list of str
        Texts of error dialogs.
    warned, infos, messages, status : list of str
        Texts of warnings, information, message boxes and the status bar.
    confirmations : list of str
        Questions asked; `answer` is what they get.
    selected_modules : list of str
        Modules that were switched to.
    settings : dict
        The application's settings.
    ensured : list of (list of str, str)
        Requirements handed to ``slicer.packaging.pip_ensure`` and who asked.
    warnings : list of str
        What Qt complained about.
    """

    slicer: ModuleType
    errors: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    status: list[str] = field(default_factory=list)
    confirmations: list[str] = field(default_factory=list)
    selected_modules: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    answer: bool = True
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


# Flags that a widget declares itself are written by name; Qt for Python cannot declare them.
_OWN_FLAGS = re.compile(rb'<property name="\w+">\s*<(set|enum)>((?:ctk|qMRML)\w+::[^<]*)</\1>\s*</property>')


def _as_number(match: re.Match) -> bytes:
    """Write flags as the number that the stand-in's class says; a class that lacks them goes without."""
    classes = {widget.__name__: widget for widget in (*ctk_widgets.WIDGETS, *qmrml_widgets.WIDGETS)}
    number = 0
    for flag in match.group(2).decode().split("|"):
        class_name, _, name = flag.partition("::")
        if not hasattr(classes.get(class_name), name):
            return b""
        number |= getattr(classes[class_name], name)
    start = match.group(0).split(b">")[0]
    return start + b"><number>" + str(number).encode() + b"</number></property>"


def load_ui(path: str) -> QtWidgets.QWidget:
    """Load a ``.ui`` file with the stand-in widgets, as ``slicer.util.loadUI`` does with the real ones."""
    loader = QtUiTools.QUiLoader()
    for widget in (*ctk_widgets.WIDGETS, *qmrml_widgets.WIDGETS):
        loader.registerCustomWidget(widget)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RuntimeError(f"Could not load UI file: file not found {path}") from error
    content = _OWN_FLAGS.sub(_as_number, content)
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


def _forget_panels() -> None:
    """Panels that imported the stand-ins must not outlive them."""
    panels = re.compile(r"(DoseEngine|Optimizer|RTPlanning)(Lib\.widget(\..*)?)?")
    for name in [name for name in sys.modules if panels.fullmatch(name)]:
        del sys.modules[name]


@contextmanager
def installed(slicer: ModuleType, application_logic: Any) -> Iterator[Desktop]:
    """Turn slicer-core's ``slicer`` into a desktop for the time of a test.

    Parameters
    ----------
    slicer : module
        slicer-core's, with a scene in ``slicer.mrmlScene``.
    application_logic : vtkSlicerApplicationLogic
        Of that scene.
    """
    desktop = Desktop(slicer)
    settings = application.settings_class(desktop.settings)
    app = application.Application(slicer.mrmlScene, application_logic, settings)
    units = slicer.vtkSlicerUnitsLogic()
    units.SetMRMLApplicationLogic(application_logic)
    units.SetMRMLScene(slicer.mrmlScene)
    i18n = ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    scripted = scripted_module.make_scripted_module()
    packaging = _packaging(desktop)
    parameters = parameter_node.make_parameter_node_module()
    modules = {
        "qt": make_qt_module(settings),
        "ctk": ctk_widgets.make_ctk_module(),
        "slicer.i18n": i18n,
        "slicer.packaging": packaging,
        "slicer.parameterNodeWrapper": parameters,
        "slicer.ScriptedLoadableModule": scripted,
    }
    attributes = [
        (slicer, "app", app),
        (slicer, "i18n", i18n),
        (slicer, "packaging", packaging),
        (slicer, "parameterNodeWrapper", parameters),
        (slicer, "ScriptedLoadableModule", scripted),
        (slicer.util, "loadUI", load_ui),
        (slicer.util, "childWidgetVariables", child_widget_variables),
    ]
    attributes += [(slicer.util, name, function) for name, function in application.dialogs(desktop).items()]
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
        app.close()
        units.SetMRMLScene(None)
        _forget_panels()
