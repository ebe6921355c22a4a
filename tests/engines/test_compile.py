"""Libraries compiled once for any weights, and sentences where that cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from paretopipe_runtime import engines
from paretopipe_runtime.engines import compile as compiling
from paretopipe_runtime.errors import ParetoPipeError
from tests.engines.conftest import Stage, compute


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is missing: apt install g++")
def test_a_stage_is_compiled_once_for_any_weights(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stage("resnet18", 1, 4)
    array = np.random.default_rng(0).standard_normal(one.takes.shape, dtype=np.float32)
    given = array.copy()
    output = compute("compile", one, given)
    np.testing.assert_allclose(output, compute("eager", one, array.copy()), rtol=1e-4, atol=1e-5)
    assert np.array_equal(given, array)
    (library,) = (one.cache / "compile").iterdir()
    assert library.suffix == ".so"

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiling, "_compile", refuse)
    other = stage("resnet18", 1, 4, seed=1)
    expected = compute("eager", other, array.copy())
    assert not np.allclose(expected, output)
    np.testing.assert_allclose(compute("compile", other, array), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError, match="compiled again"):
        compute("compile", stage("resnet18", 1, 4, batch=1), array[:1])


def test_without_a_compiler_it_names_the_package(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .*g\+\+ is not on this host — install"):
        engines.load("compile", stage("alexnet", 0, 1))


def test_a_host_that_is_too_slow_is_told_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "LIMIT_S", 0.2)
    monkeypatch.setattr(compiling.shutil, "which", lambda _: "/usr/bin/g++")
    one = stage("alexnet", 0, 1)
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .* blocks 0…1 of alexnet .* not done"):
        engines.load("compile", one)
    assert list((one.cache / "compile").iterdir()) == []


def test_a_compiler_that_fails_is_quoted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda _: "/usr/bin/g++")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'first line' >&2\necho 'no such header' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(compiling.sys, "executable", str(python))
    with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .*no such header — choose"):
        engines.load("compile", stage("alexnet", 0, 1))
