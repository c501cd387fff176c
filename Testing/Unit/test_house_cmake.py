"""The extension's CMake tree: what it lists is on disk, what is on disk is listed, and it configures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from missing import missing

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("DoseEngine", "Optimizer", "RTPlanning")

# Slicer's configuration with its macros replaced by recorders, one line "<kind>|<module>|<file>" a file.
SLICER_CONFIG = r"""
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/Metadata.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake")
set(BUILD_TESTING ON)
"""
USE_SLICER = r"""
include(CMakeParseArguments)
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown arguments: ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  foreach(kind SCRIPTS RESOURCES)
    foreach(file ${MODULE_${kind}})
      if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
        message(FATAL_ERROR "${MODULE_NAME} lists ${file}, which does not exist")
      endif()
      file(APPEND "$ENV{RECORD}" "${kind}|${MODULE_NAME}|${file}\n")
    endforeach()
  endforeach()
endfunction()
function(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT" "" ${ARGN})
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${TEST_SCRIPT}")
    message(FATAL_ERROR "test script ${TEST_SCRIPT} does not exist")
  endif()
  file(APPEND "$ENV{RECORD}" "TEST|desktop|${TEST_SCRIPT}\n")
endfunction()
"""
METADATA = 'file(APPEND "$ENV{RECORD}" "METADATA|${PROJECT_NAME}|${EXTENSION_CATEGORY}\\n")\n'


def read_list(module: str, variable: str) -> list[str]:
    text = (REPOSITORY / module / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(rf"^set\({variable}\n(.*?)^\s*\)", text, re.DOTALL | re.MULTILINE)
    assert found, f"{module}/CMakeLists.txt has no set({variable} ...)"
    lines = [line.strip() for line in found.group(1).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def files_on_disk(module: str) -> set[str]:
    """Every file Slicer has to install; only what git ignores or the documentation stays behind."""
    git = shutil.which("git")
    if git and (REPOSITORY / ".git").exists():
        command = [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", module]
        listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
        paths = [REPOSITORY / name for name in listed if name]
    else:
        paths = [path for path in (REPOSITORY / module).rglob("*") if "__pycache__" not in path.parts]
    names = {path.relative_to(REPOSITORY / module).as_posix() for path in paths if path.is_file()}
    return {name for name in names if name != "CMakeLists.txt" and not name.startswith("Documentation/")}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("variable", ["MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"])
def test_lists_agree_with_the_disk(module: str, variable: str) -> None:
    listed = read_list(module, variable)
    is_script = variable == "MODULE_PYTHON_SCRIPTS"
    present = {name for name in files_on_disk(module) if name.endswith(".py") == is_script}
    add = sorted(present - set(listed))
    remove = sorted(set(listed) - present)
    doubled = sorted({name for name in listed if listed.count(name) > 1})
    message = [f"{module}/CMakeLists.txt, set({variable}):"]
    message += [f"  {name}        <- add this line" for name in add]
    message += [f"  {name}        <- remove this line, there is no such file" for name in remove]
    message += [f"  {name}        <- listed twice" for name in doubled]
    assert len(message) == 1, "\n".join(message)


def test_modules_do_not_overwrite_each_other_when_installed() -> None:
    owner: dict[str, str] = {}
    for module in MODULES:
        for variable in ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"):
            for name in read_list(module, variable):
                # lower case: the folder may lie on a disk that does not tell cases apart
                other = owner.setdefault(name.lower(), module)
                assert other == module, f"{name} is installed by both {other} and {module}; rename one of them."


def test_python_files_beside_the_libs_are_modules() -> None:
    for module in MODULES:
        beside = sorted(path.name for path in (REPOSITORY / module).glob("*.py"))
        assert beside == [f"{module}.py"], f"Slicer takes every .py directly in {module}/ for a module: {beside}"


def test_metadata_is_literal() -> None:
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"^project\(RTPlanning\)$", text, re.MULTILINE)
    values = dict(re.findall(r'^set\((EXTENSION_\w+) "([^"]*)"\)$', text, re.MULTILINE))
    required = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS")
    for name in required:
        value = values.get(f"EXTENSION_{name}", "")
        assert value, f"CMakeLists.txt sets no literal EXTENSION_{name}"
        assert "$" not in value, f"EXTENSION_{name} must not hold a CMake variable"
    assert values["EXTENSION_CATEGORY"] == "Radiotherapy"
    assert "not for clinical use" in values["EXTENSION_DESCRIPTION"]
    assert (REPOSITORY / "LICENSE.txt").stat().st_size > 10_000
    # the icon and screenshots the URLs name are in this tree
    for url in [values["EXTENSION_ICONURL"], *values["EXTENSION_SCREENSHOTURLS"].split()]:
        path = url.partition("/main/")[2]
        assert path, f"{url} does not name a file of the main branch"
        assert (REPOSITORY / path).is_file(), f"{path}, named in CMakeLists.txt, is missing"


def test_line_ends_are_LF() -> None:
    suffixes = {".txt", ".cmake", ".py", ".ui", ".json", ".md", ".toml", ".cff", ".yaml", ".csv", ".html", ".css"}
    folders = [REPOSITORY / name for name in (*MODULES, "Testing")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in suffixes]
    paths += [path for path in REPOSITORY.iterdir() if path.suffix in suffixes]
    assert len(paths) > 30
    crlf = [path.relative_to(REPOSITORY).as_posix() for path in paths if b"\r\n" in path.read_bytes()]
    assert not crlf, f"CRLF line ends in {', '.join(crlf)}; save them with LF."


def find_cmake() -> str | None:
    try:
        import cmake
    except ImportError:
        return shutil.which("cmake")
    return str(Path(cmake.CMAKE_BIN_DIR) / "cmake")


def test_tree_configures(tmp_path: Path) -> None:
    program = find_cmake()
    if program is None:
        missing('CMake is missing: pip install ".[test]" brings it.')
    slicer = tmp_path / "slicer"
    slicer.mkdir()
    (slicer / "SlicerConfig.cmake").write_text(SLICER_CONFIG)
    (slicer / "UseSlicer.cmake").write_text(USE_SLICER)
    (slicer / "Metadata.cmake").write_text(METADATA)
    (slicer / "Nothing.cmake").write_text("")
    # No compiler and no make are needed to configure scripted modules.
    toolchain = tmp_path / "toolchain.cmake"
    toolchain.write_text(
        "".join(
            f"set(CMAKE_{language}_COMPILER_FORCED TRUE)\nset(CMAKE_{language}_COMPILER_ID_RUN TRUE)\n"
            f"set(CMAKE_{language}_COMPILER {Path(program).as_posix()})\n"
            for language in ("C", "CXX")
        )
    )
    record = tmp_path / "record.txt"
    command = [
        program,
        "-S",
        str(REPOSITORY),
        "-B",
        str(tmp_path / "build"),
        "-G",
        "Unix Makefiles",
        f"-DCMAKE_MAKE_PROGRAM={program}",
        f"-DCMAKE_TOOLCHAIN_FILE={toolchain}",
        f"-DSlicer_DIR={slicer}",
    ]
    run = subprocess.run(command, env={**os.environ, "RECORD": str(record)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [line.split("|") for line in record.read_text().splitlines()]
    assert ["METADATA", "RTPlanning", "Radiotherapy"] in lines
    for module in MODULES:
        assert ["SCRIPTS", module, f"{module}.py"] in lines
        assert ["RESOURCES", module, f"Resources/UI/{module}.ui"] in lines
        assert ["RESOURCES", module, f"Resources/Icons/{module}.png"] in lines
        assert ["TEST", "desktop", f"{module}DesktopTest.py"] in lines
