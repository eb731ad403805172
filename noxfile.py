"""Everything that is checked, shown or measured here, as nox sessions."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "typing", "tests", "demo"]
nox.options.default_venv_backend = "virtualenv"  # every environment has pip, which builds the wheel
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
OLDEST = (3, 11)
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
# Versions that are not on the machine are skipped; the one that runs nox is there, so something is always tested.
PYTHONS = sorted({"3.11", "3.12", "3.13", "3.14"} | ({THIS} if sys.version_info >= OLDEST else set()))
CLEAN = {
    "PYTHONPATH": None,  # what is tested is what is installed
    "PYTHONDONTWRITEBYTECODE": None,  # pytest rewrites hundreds of modules: once for all of its processes, if it may
}


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


def group(*names: str) -> list[str]:
    """Return the requirements of dependency groups."""
    return list(nox.project.dependency_groups(PROJECT, *names))


def install_wheel(session: nox.Session, *others: str, extras: str = "[all]") -> None:
    """Install the package as users get it: from a wheel, which the first session of a run builds for all."""
    folder = session.cache_dir / "wheel" / str(os.getpid())
    if not folder.is_dir():
        shutil.rmtree(folder.parent, ignore_errors=True)
        session.run_install("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".")
    (wheel,) = folder.glob("*.whl")
    session.install(f"{wheel}{extras}", *others)
    session.install("--force-reinstall", "--no-deps", str(wheel))  # a reused environment holds the one from before


def run_tests(session: nox.Session, *options: str, covered: bool) -> None:
    """Run pytest on the installed package, and where it is asked for require that it reaches every line and branch.

    Four processes keep two cores busy: many tests wait for sockets. Files are handed out in the order of their names:
    by their number of tests, the slow ones would come last, and three processes would wait for the fourth. What takes
    long, and the second loop, run where coverage is measured; `nox -s tests -- tests` runs all of it on every Python.
    """
    env = {**CLEAN, "COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    if session.posargs:
        session.run("python", "-m", "pytest", *options, *session.posargs, env=env)
        return
    pytest = ["coverage", "run", "-m", "pytest"] if covered else ["python", "-m", "pytest"]
    session.run("coverage", "erase", env=env)
    some = [] if covered else ["-m", "not slow and not chaos", "-k", "not trio"]
    session.run(*pytest, "--numprocesses=4", "--dist=loadfile", "--no-loadscope-reorder", *some, *options, env=env)
    if covered:
        session.run("coverage", "combine", "--quiet", env=env)
        session.run("coverage", "report", env=env)


def verify_types(session: nox.Session) -> None:
    """Fail unless the type of every public name is stated, so that all type checkers agree on it."""
    session.run("pyright", "--ignoreexternal", "--verifytypes", "up42_async")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and which module may import which."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-logo", env={"PYTHONPATH": "src"})


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of everything with mypy and pyright."""
    session.install("--editable", ".[all]", *group("typing"))
    session.run("mypy")
    session.run("pyright")
    verify_types(session)


@nox.session(default=False)
def verifytypes(session: nox.Session) -> None:
    """Check that the type of every public name is stated, which `typing` checks too."""
    session.install("--editable", ".[all]", *group("typing"))
    verify_types(session)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel, on each Python here; on the oldest all, with coverage."""
    install_wheel(session, *group("tests"))
    run_tests(session, covered=session.python == PYTHONS[0])


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that pyproject.toml allows."""
    extras = PROJECT["project"]["optional-dependencies"]
    bounded = [*PROJECT["project"]["dependencies"], *(one for name in sorted(extras) for one in extras[name])]
    oldest = [re.sub(r">=([^,]+).*", r"==\1", one) for one in dict.fromkeys(bounded) if not one.startswith("up42")]
    install_wheel(session, *oldest, *group("tests"))
    # old releases use what new ones of their own dependencies deprecate: typer of click, starlette of anyio
    run_tests(session, "-W", "ignore::DeprecationWarning", covered=False)


@nox.session
def demo(session: nox.Session) -> None:
    """Track 300 jobs to their end on a sandbox, live, and download results."""
    install_wheel(session)
    session.run("python", "-m", "up42_async.demo", *session.posargs, env=CLEAN)


@nox.session(default=False)
def examples(session: nox.Session) -> None:
    """Run every example on a sandbox."""
    install_wheel(session, *group("examples", "cluster"))
    for example in sorted(Path("examples").glob("*.py")):
        session.run("python", str(example), env=CLEAN)


@nox.session(default=False)
def cluster(session: nox.Session) -> None:
    """Hand results to a Dask cluster, one of whose workers is killed, and map a Prefect flow over items."""
    install_wheel(session, *group("tests", "cluster"))
    session.run("python", "-m", "pytest", "tests/examples/test_cluster.py", *session.posargs, env=CLEAN)


@nox.session(default=False)
def notebook(session: nox.Session) -> None:
    """Run the notebook of the documentation, and render it."""
    install_wheel(session, *group("tests", "notebook"))
    session.run("python", "-m", "pytest", "tests/test_notebook.py", *session.posargs, env=CLEAN)


@nox.session(default=False)
def peer(session: nox.Session) -> None:
    """Compare with up42-py, the official synchronous SDK: the same calls give the same fields from the same queries."""
    install_wheel(session, *group("tests", "peer"))
    session.run("python", "-m", "pytest", "tests/test_peer.py", *session.posargs, env=CLEAN)


@nox.session(default=False)
def consumers(session: nox.Session) -> None:
    """Hand the items of results to odc-stac and stackstac: they take them as they are, and load what the files hold."""
    install_wheel(session, *group("tests", "consumers"))
    session.run("python", "-m", "pytest", "tests/test_consumers.py", *session.posargs, env=CLEAN)


@nox.session(default=False)
def interop(session: nox.Session) -> None:
    """Work beside what mocks, records and traces httpx: respx, pytest-httpx, vcrpy, OpenTelemetry, Sentry, httpx2."""
    install_wheel(session, *group("tests", "interop"))
    session.run("python", "-m", "pytest", "tests/interop", *session.posargs, env=CLEAN)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the site, with every warning an error, and look at each page in headless Chromium at two widths."""
    install_wheel(session, *group("docs"))
    built = Path(session.create_tmp()) / "site"
    shutil.rmtree(built, ignore_errors=True)
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "docs", str(built), env=CLEAN)
    session.run("python", "docs/look_at_pages.py", str(built), *session.posargs, env=CLEAN)


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """Work for minutes while everything goes wrong, and kill runs with a journal; compare both sides each time."""
    install_wheel(session, *group("tests", "pictures"))
    page = () if session.posargs else ("--report", "docs/reliability.md")
    session.run("python", "-m", "tests.chaos", *page, *session.posargs, env=CLEAN)
    if not session.posargs:
        session.run("python", "-m", "tests.chaos.killed_runs", env=CLEAN)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against up42-py, httpx and curl, and write docs/benchmarks.md; `-- quick`, or names, for less."""
    # without extras: where rich and click are installed, httpx imports them for its own command line
    install_wheel(session, *group("bench", "pictures"), extras="")
    session.run("python", "-m", "benchmarks", *session.posargs, env=CLEAN)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Call, track and cancel for 45 s a loop, with each client (`-- --client user`: one), and look for what is left."""
    install_wheel(session, "trio>=0.31")
    session.run("python", "-m", "benchmarks.soak", *session.posargs, env=CLEAN)


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Build sdist and wheel twice, the same each time, check them, and run the tests from the unpacked sdist."""
    version = re.search(r'VERSION: Final = "(.+)"', Path("src/up42_async/_config/settings.py").read_text("utf-8"))
    if version is None or f"\n## {version[1]} - " not in Path("CHANGELOG.md").read_text("utf-8"):
        session.error("CHANGELOG.md has no section for the version in _config/settings.py")
    session.install(*group("release", "tests"))
    dist, again = Path("dist"), Path(session.create_tmp()) / "again"
    for folder in (dist, again):
        shutil.rmtree(folder, ignore_errors=True)
        session.run("python", "-m", "build", "--outdir", str(folder), silent=True)
    files = sorted(dist.iterdir())
    for file in files:
        if digest(file) != digest(again / file.name):
            session.error(f"{file.name} is not the same when it is built again")
    session.run("twine", "check", "--strict", *map(str, files))
    wheel, sdist = (next(file for file in files if file.name.endswith(end)) for end in (".whl", ".tar.gz"))
    session.run("check-wheel-contents", str(wheel))
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install(f"{wheel}[all]")
    unpacked = Path(session.create_tmp()) / "sdist"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    with session.chdir(next(unpacked.iterdir())):
        session.run("python", "-m", "pytest", "--numprocesses=4", "--dist=loadfile", *session.posargs, env=CLEAN)


def digest(file: Path) -> str:
    """Return what tells whether two files are the same."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
