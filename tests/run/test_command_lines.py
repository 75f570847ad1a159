"""Wrong command lines, missing extras, and what users expect of any program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import launch

import protmpi
from analysis import cli as analysis_cli
from protmpi import cli, commands

PROGRAMS: dict[str, Callable[[], None]] = {"protmpi": cli.main, "protmpi-analysis": analysis_cli.main}
WRONG = [
    ("protmpi", ["run"], "missing argument 'CONFIG'; `protmpi run --help` shows what there is"),
    ("protmpi", ["run", "--foo"], "no such option: --foo; `protmpi run --help` shows what there is"),
    ("protmpi", ["frob"], "no such command 'frob'; `protmpi --help` shows what there is"),
    ("protmpi", ["status", "a", "b"], "got unexpected extra argument(s) (b); `protmpi status --help` shows"),
    ("protmpi", ["bench", "--walkers", "0"], "invalid value for '--walkers'"),
    ("protmpi", ["run", "a.toml", "--store", "a", "--store=b"], "--store: given 2 times, takes one value"),
    ("protmpi", ["bench", "mixing", "a.toml", "--walkers", "2", "--walkers", "3"], "--walkers: given 2 times"),
    ("protmpi", ["data", "make", "a.toml", "--set", "run.seed=1", "--set", "run.seed=2"], "--set run.seed: given"),
    ("protmpi-analysis", ["report", "a.zarr", "--out", "a", "--out", "b"], "--out: given 2 times, takes one value"),
    ("protmpi-analysis", ["report"], "missing argument 'STORE...'; `protmpi-analysis report --help` shows"),
]


def run(program: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    try:
        PROGRAMS[program]()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(("program", "arguments", "said"), WRONG)
def test_a_wrong_command_line_is_one_line(
    program: str, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(program, arguments, monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"error: {said}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_version(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(program, ["--version"], monkeypatch) == 0
    assert capsys.readouterr().out == f"{protmpi.__version__}\n"
    for asked, status in ((["-h"], 0), (["--help"], 0), ([], 2)):
        assert run(program, asked, monkeypatch) == status
        out, err = capsys.readouterr()
        assert "Usage:" in out + err


def test_the_package_is_a_program() -> None:
    assert launch([sys.executable, "-m", "protmpi", "--version"]).stdout == f"{protmpi.__version__}\n"


@pytest.mark.parametrize(("module", "extra"), commands.EXTRAS.items())
def test_a_missing_extra_is_named(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = commands.Commands()

    @app.command()
    def work() -> None:
        raise ModuleNotFoundError(f"No module named '{module}.x'", name=f"{module}.x")

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as end:
        commands.main(app, "program")
    assert end.value.code == 2
    line = f"error: this needs {module}, which is not installed: pip install 'protmpi[{extra}]'\n"
    assert capsys.readouterr().err == line


def test_a_module_of_no_extra_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken twin: what no extra installs must not be hidden."""
    app = commands.Commands()

    @app.command()
    def work() -> None:
        raise ModuleNotFoundError("No module named 'protmpi.gone'", name="protmpi.gone")

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(ModuleNotFoundError):
        commands.main(app, "program")


SMOKE = str(Path(__file__).parents[2] / "configs" / "smoke.toml")
TOO_MUCH = [
    ("run.steps=99999999999999999999", "run.steps: the store would take 1.35e+13 GB"),
    ("model.layers=[1000000,1000000]", "sampler.walkers_per_temperature: 4 walkers of 1,000,013,000,003 parameters"),
    ("sampler.walkers_per_temperature=1000000000", "sampler.walkers_per_temperature: 2,000,000,000 walkers of 84"),
    ("data.spins=1000000000000", "not enough memory: "),
    ('sampler.rho="atuo"', f"{SMOKE}: sampler.rho: input should be a valid number, unable to parse string as a number, "
     "or 'auto', not 'atuo'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), TOO_MUCH)
def test_what_no_machine_can_hold_is_said_before_the_start(
    change: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "a.zarr"
    assert run("protmpi", ["run", SMOKE, "--store", str(store), "--set", change], monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"error: {said}")
    assert not store.exists()


def test_a_network_to_time_must_be_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("protmpi", ["bench", "--network", "foo"], monkeypatch) == 2
    assert capsys.readouterr().err.startswith("error: --network foo: no published network; choose one of transformer-1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_output_is_one_line() -> None:
    command = f"{sys.executable} -m protmpi config --explain > /dev/full"
    done = launch(["/bin/sh", "-c", command])
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"
