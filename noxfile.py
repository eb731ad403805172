"""Everything that is checked, shown or measured here, as nox sessions."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "typing", "tests", "demo"]
nox.options.default_venv_backend = "virtualenv"  # every environment has pip, which builds the wheel
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
OLDEST = (3, 11)
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
# Versions that are not on the machine are skipped; the one that runs nox is there, so something is always tested.
PYTHONS = sorted({"3.11", "3.12", "3.13"} | ({THIS} if sys.version_info >= OLDEST else set()))


def offer_pyenv_versions() -> None:
    """Let pyenv's ``python3.12`` and the like start: its shims refuse a version that is installed but not selected."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return

    def names(*command: str) -> list[str]:
        listed = subprocess.run([pyenv, *command], capture_output=True, text=True, check=False)  # noqa: S603
        return re.findall(r"^[^\s:]+|(?<=:)[^\s:]+", listed.stdout, re.MULTILINE)

    selected = names("version-name")  # stays first, so that plain `python` means what it meant
    installed = [name for name in reversed(names("versions", "--bare")) if re.fullmatch(r"3\.\d+\.\d+", name)]
    os.environ["PYENV_VERSION"] = ":".join(dict.fromkeys([*selected, *installed]))


offer_pyenv_versions()


def install_wheel(session: nox.Session, *others: str, extras: str = "[progress,sandbox]") -> None:
    """Install the package as users get it: from a wheel, which the first session of a run builds for all."""
    folder = session.cache_dir / "wheel" / str(os.getpid())
    if not folder.is_dir():
        shutil.rmtree(folder.parent, ignore_errors=True)
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".")
    (wheel,) = folder.glob("*.whl")
    session.install(f"{wheel}{extras}", *others)
    session.install("--force-reinstall", "--no-deps", str(wheel))  # a reused environment holds the one from before


def run_tests(session: nox.Session, *, covered: bool) -> None:
    """Run pytest on the installed package, and where it is asked for require that it reaches every line and branch.

    Three processes keep two cores busy: many tests wait for sockets. What fails in that crowd is run once more, alone,
    so that what is left is wrong and not only slow.
    """
    env = {"COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage"), "PYTHONPATH": None}
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs, env=env)
        return
    pytest = ["coverage", "run", "-m", "pytest"] if covered else ["python", "-m", "pytest"]
    session.run("coverage", "erase", env=env)
    try:
        session.run(*pytest, "--numprocesses=3", "--dist=loadfile", env=env)
    except CommandFailed:
        session.run(*pytest, "--last-failed", env=env)
    if covered:
        session.run("coverage", "combine", "--quiet", env=env)
        session.run("coverage", "report", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and which module may import which."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-logo", env={"PYTHONPATH": "src"})


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the package, its tests and its examples, with mypy and with pyright."""
    session.install("--editable", ".[progress,sandbox]", *nox.project.dependency_groups(PROJECT, "typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel, on each Python that is here; the oldest also measures coverage."""
    install_wheel(session, *nox.project.dependency_groups(PROJECT, "tests"))
    run_tests(session, covered=session.python == PYTHONS[0])


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that pyproject.toml allows."""
    extras = PROJECT["project"]["optional-dependencies"]
    bounded = [*PROJECT["project"]["dependencies"], *extras["progress"], *extras["sandbox"]]
    oldest = [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in bounded]
    install_wheel(session, *oldest, *nox.project.dependency_groups(PROJECT, "tests"))
    run_tests(session, covered=False)


@nox.session(default=False)
def peer(session: nox.Session) -> None:
    """Compare with up42-py, the official synchronous SDK: the same calls give the same fields from the same queries."""
    install_wheel(session, "up42-py==4.3.0", *nox.project.dependency_groups(PROJECT, "tests"))
    session.run("python", "-m", "pytest", "tests/test_peer.py", env={"PYTHONPATH": None})


@nox.session(default=False)
def consumers(session: nox.Session) -> None:
    """Hand the items of results to odc-stac and stackstac: they take them as they are, and load what the files hold."""
    install_wheel(session, *nox.project.dependency_groups(PROJECT, "tests", "consumers"))
    session.run("python", "-m", "pytest", "tests/test_consumers.py", *session.posargs, env={"PYTHONPATH": None})


@nox.session
def demo(session: nox.Session) -> None:
    """Track 300 jobs to their end on a sandbox, live, and download results."""
    install_wheel(session)
    session.run("python", "examples/batch_track.py", *session.posargs)


@nox.session(default=False)
def examples(session: nox.Session) -> None:
    """Run every example on a sandbox."""
    install_wheel(session)
    for example in sorted(Path("examples").glob("*.py")):
        session.run("python", str(example))


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against up42-py, httpx and curl, and write docs/benchmarks.md; `-- quick`, or names, for less."""
    # without extras: where rich and click are installed, httpx imports them for its own command line
    install_wheel(session, *nox.project.dependency_groups(PROJECT, "bench"), extras="")
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": None})


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Call, track and cancel for 45 s on each loop while a tenth of the answers is lost, and look for what is left."""
    install_wheel(session, "trio>=0.31")
    session.run("python", "-m", "benchmarks.soak", *session.posargs, env={"PYTHONPATH": None})


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Let everything go wrong for three minutes, compare both sides' books, and write docs/reliability.md."""
    install_wheel(session, "trio>=0.31")
    page = ("--report", "docs/reliability.md")
    session.run("python", "-m", "benchmarks.faults", *page, *session.posargs, env={"PYTHONPATH": None})
