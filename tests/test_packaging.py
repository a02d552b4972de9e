"""What users get from pip: the wheel, built as a release builds it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_wheel_holds_the_package_its_licence_and_no_tests(tmp_path: Path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("evoprune-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "evoprune/py.typed",
        "evoprune/report/html/templates/page.html.j2",
        "evoprune/errors.py",
        "evoprune/recipes/lenet5-mnist.yaml",
    } <= set(names)
    weights = {f"evoprune/recipes/weights/{path.name}" for path in (ROOT / "src/evoprune/recipes/weights").iterdir()}
    assert weights
    assert weights <= set(names)
    assert sum(name.endswith(("licenses/LICENSE", "licenses/NOTICE")) for name in names) == 2
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"evoprune"}
