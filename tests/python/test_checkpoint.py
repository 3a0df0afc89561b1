"""Stop and resume with the same bits; damaged and foreign files; kill -9."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, rosen

from fastopt import _checkpoint, cbo, problems

BOX = [(-2.0, 2.0)] * 3
DYNAMICS = ["hybrid", "anisotropic", "isotropic", "memory", "hopping", "sampling", "polarized"]


def options(dynamics):
    base = {"rng": 5, "dynamics": dynamics, "maxiter": 60, "tol": 0.0}
    return base if dynamics == "hybrid" else {**base, "n_particles": 25}


def same(a, b):
    for name in ("x", "population", "population_energies", "consensus"):
        assert a[name].tobytes() == b[name].tobytes(), name
    assert (a.fun, a.nit, a.nfev, a.status) == (b.fun, b.nit, b.nfev, b.status)


def stop_at(nit):
    return lambda intermediate_result: intermediate_result.nit == nit


def interrupted(path, nit, func=rosen, bounds=BOX, **given):
    """A run that saves after every iteration and ends after `nit`."""

    def callback(intermediate_result):
        return intermediate_result.nit == nit

    return cbo(func, bounds, checkpoint=path, checkpoint_every=0, callback=callback, **given)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("nit", [1, 23])
def test_a_resumed_run_equals_one_that_was_not_stopped(tmp_path, dynamics, nit):
    path = tmp_path / "state.npz"
    interrupted(path, nit, **options(dynamics))
    whole = cbo(rosen, BOX, **options(dynamics))
    same(cbo(rosen, BOX, resume=path, **options(dynamics)), whole)


@pytest.mark.parametrize("extra", [
    {"dtype": "float32"},
    {"batch_size": 10},
    {"batch_size": 10, "batch_mode": "full"},
    {"alpha": 3.0, "alpha_factor": 1.1, "diffusion_factor": 0.99},
    {"integrality": [True, False, False]},
    {"constraints": LinearConstraint([1, 1, 1], 1, 2)},
    {"noise": "covariance"},
    {"init": "sobol"},
], ids=lambda extra: "+".join(extra))  # fmt: skip
def test_options_resume_too(tmp_path, extra):
    given = {**options("anisotropic"), **extra}
    interrupted(tmp_path / "s", 17, **given)
    same(cbo(rosen, BOX, resume=tmp_path / "s", **given), cbo(rosen, BOX, **given))


@pytest.mark.parametrize("restart", [0, 1])
def test_restarts_resume_where_they_were(tmp_path, restart):
    given = {**options("anisotropic"), "maxiter": 20, "restarts": 2}
    interrupted(tmp_path / "s", 20 * restart + 9, **given)
    resumed, whole = cbo(rosen, BOX, resume=tmp_path / "s", **given), cbo(rosen, BOX, **given)
    same(resumed, whole)
    assert resumed.n_restarts == whole.n_restarts == 2


def test_history_goes_on_after_a_resume(tmp_path):
    given = {**options("anisotropic"), "record_history": True}
    interrupted(tmp_path / "s", 9, **given)
    resumed, whole = cbo(rosen, BOX, resume=tmp_path / "s", **given), cbo(rosen, BOX, **given)
    for name, values in whole.history.items():
        assert resumed.history[name].tobytes() == values.tobytes(), name


def test_limits_and_threads_may_change_and_the_key_is_the_files(tmp_path):
    given = {**options("anisotropic"), "maxiter": 30}
    interrupted(tmp_path / "s", 30, **given)
    longer = {**given, "maxiter": 50, "rng": 999, "threads": 2}
    same(
        cbo(rosen, BOX, resume=tmp_path / "s", **longer),
        cbo(rosen, BOX, **{**given, "maxiter": 50}),
    )


def test_writing_changes_nothing(tmp_path):
    for dynamics in ("hybrid", "memory"):
        saved = cbo(rosen, BOX, checkpoint=tmp_path / "s", checkpoint_every=0, **options(dynamics))
        same(saved, cbo(rosen, BOX, **options(dynamics)))


def test_the_interval_is_kept(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(_checkpoint, "save", lambda *a: written.append(1))
    cbo(rosen, BOX, checkpoint=tmp_path / "s", **options("anisotropic"))
    assert written == []  # 60 s have not passed
    cbo(rosen, BOX, checkpoint=tmp_path / "s", checkpoint_every=0, **options("anisotropic"))
    assert len(written) == 60


def test_only_the_finished_file_is_left_and_an_old_one_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    interrupted(path, 5, **options("anisotropic"))
    assert [one.name for one in tmp_path.iterdir()] == ["state.npz"]
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        interrupted(path, 9, **options("anisotropic"))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["state.npz"]


# ---- files that are not what they should be --------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "state.npz"
    interrupted(path, 5, **options("anisotropic"))
    return path.read_bytes()


def resume(path, **changes):
    return cbo(rosen, BOX, resume=path, **{**options("anisotropic"), **changes})


def test_truncated_files(tmp_path, good):
    path = tmp_path / "s"
    for length in [0, 1, 10, 100, *range(200, len(good), len(good) // 23), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match=r"resume: .*(truncated|damaged|not a checkpoint)"):
            resume(path)


def test_flipped_bits(tmp_path, good):
    path = tmp_path / "s"
    rng = np.random.default_rng(0)
    whole = resume_bytes(tmp_path, good)
    for at in rng.integers(0, len(good), 60):
        changed = bytearray(good)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        try:
            result = resume(path)
        except ValueError as error:
            assert "resume: " in str(error)
        else:  # a bit of the archive's own bookkeeping that carries no number of ours
            assert result.x.tobytes() == whole.x.tobytes()


def resume_bytes(tmp_path, content):
    (tmp_path / "good").write_bytes(content)
    return resume(tmp_path / "good")


def test_foreign_files(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="not a checkpoint of this version"):
        resume(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as a fastopt checkpoint"):
        resume(path)
    np.savez(path, format=np.array([{"a": 1}], dtype=object))  # would need pickle
    with pytest.raises(ValueError, match="cannot be read as a fastopt checkpoint"):
        resume(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match="resume"):
        resume(tmp_path / "one.npy")
    with pytest.raises(FileNotFoundError):
        resume(tmp_path / "missing")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n_particles": 30}, "n_particles"),
        ({"dynamics": "memory"}, "dynamics"),
        ({"drift": 0.5}, "drift"),
        ({"dtype": "float32"}, "dtype"),
        ({"polish": False}, "polish"),
        ({"x0": [0.0, 0.0, 0.0]}, "x0"),
        ({"restarts": 1}, "restarts"),
    ],
    ids=lambda one: str(one),
)
def test_another_run_is_told_what_differs(tmp_path, good, changes, named):
    path = tmp_path / "s"
    path.write_bytes(good)
    with pytest.raises(ValueError, match=f"belongs to another problem.*{named}"):
        resume(path, **changes)


def test_another_box_or_function_is_found_out(tmp_path, good):
    path = tmp_path / "s"
    path.write_bytes(good)
    with pytest.raises(ValueError, match=r"bounds"):
        cbo(rosen, [(-2, 2.5)] * 3, resume=path, **options("anisotropic"))
    with pytest.raises(ValueError, match=r"dim"):
        cbo(rosen, [(-2, 2)] * 2, resume=path, **options("anisotropic"))
    interrupted(path, 5, problems.ackley(3), **options("anisotropic"))
    with pytest.raises(ValueError, match=r"func"):
        cbo(problems.sphere(3), BOX, resume=path, **options("anisotropic"))


# ---- kill -9 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_kill_9_and_resume(tmp_path, dynamics):
    path = tmp_path / "state.npz"
    given = {**options(dynamics), "maxiter": 150}
    script = textwrap.dedent(f"""
        import time
        from fastopt import cbo
        from scipy.optimize import rosen
        cbo(rosen, {BOX!r}, checkpoint={str(path)!r}, checkpoint_every=0,
            callback=lambda xk: time.sleep(0.01), **{given!r})
    """)
    for attempt in range(3):
        process = subprocess.Popen([sys.executable, "-c", script])
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05 + 0.11 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        same(cbo(rosen, BOX, resume=path, **given), cbo(rosen, BOX, **given))
        path.unlink()


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_the_last_state_resumes_to_the_same_end(tmp_path, dynamics):
    given = {**options(dynamics), "maxiter": 20}
    whole = cbo(rosen, BOX, checkpoint=tmp_path / "s", checkpoint_every=0, **given)
    same(cbo(rosen, BOX, resume=tmp_path / "s", **given), whole)


# ---- whole files whose numbers do not belong together ------------------------------------------

KINDS = {
    "hybrid": ({"dynamics": "hybrid"}, 1),
    "hybrid, later": ({"dynamics": "hybrid"}, 30),
    "batches": ({"dynamics": "anisotropic", "n_particles": 16, "batch_size": 4}, 4),
    "polarized": ({"dynamics": "polarized", "n_particles": 16}, 4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_do_not_belong_together(kind, tmp_path):
    """With the right checksum, each array too short, too long, negative, huge or not a number.

    Indices and sizes of such files reached native code: it read and wrote outside its arrays.
    """
    given, nit = KINDS[kind]
    given = {"rng": 3, "maxiter": nit + 6, **given}
    interrupted(tmp_path / "good", nit, **given)
    with np.load(tmp_path / "good") as file:
        problem = json.loads(str(file["problem"]))
    good = _checkpoint.load(tmp_path / "good", None)
    refused = 0
    for name, value in good.items():
        flat = value.ravel()
        real = value.dtype.kind == "f"
        changes = [
            flat[:0], flat[:-1], np.concatenate([flat, flat[:1]]), np.full_like(value, 10**9),
            np.full_like(value, np.nan if real else 2**31), None,
        ]  # fmt: skip
        if value.dtype.kind != "u":
            changes.append(-np.abs(value) - 1)
        for change in changes:
            arrays = {k: v for k, v in good.items() if k != name}
            if change is not None:
                arrays[name] = change.astype(value.dtype)
            _checkpoint.save(tmp_path / "bad", arrays, problem)
            try:
                cbo(rosen, BOX, resume=tmp_path / "bad", **given)
            except (ValueError, MemoryError) as error:
                assert str(error)
                refused += 1
    assert refused > 2 * len(good)  # each missing one, and most of a wrong size


def test_finished_restarts_with_gaps(tmp_path):
    """AttributeErrors came out of the joining of restarts, or an x outside the bounds as answer."""
    given = {"rng": 3, "dynamics": "anisotropic", "n_particles": 8, "restarts": 1, "maxiter": 5,
             "record_history": True}  # fmt: skip
    interrupted(tmp_path / "good", 8, **given)
    with np.load(tmp_path / "good") as file:
        problem = json.loads(str(file["problem"]))
    good = _checkpoint.load(tmp_path / "good", None)
    kept = ("population", "population_energies", "consensus")  # which nothing is computed from
    names = [k for k in good if k.startswith("restart0/") and k.split("/")[1] not in kept]
    assert len(names) == 14
    for name in names:
        arrays = {k: v for k, v in good.items() if k != name}
        changes = [None, np.ones((2, 2))]
        if name.endswith("/x"):
            changes += [good[name] + 10, good[name] * np.nan, good[name][:1]]
        for change in changes:
            bad = arrays if change is None else {**arrays, name: change}
            _checkpoint.save(tmp_path / "bad", bad, problem)
            with pytest.raises(ValueError, match=r"resume: .* is damaged"):
                cbo(rosen, BOX, resume=tmp_path / "bad", **given)
