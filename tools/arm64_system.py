"""A Debian for arm64 in a directory: packages that are unpacked, but not installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# gcc compiles the host program of tests/host; venv makes the environments of these tests.
PACKAGES = (
    *("bash", "coreutils", "gcc", "libc6-dev"),
    *("python3-dev", "python3-venv", "tzdata", "zlib1g-dev"),
)
EMULATOR = "qemu-aarch64-static"
EMULATOR_PACKAGE = "qemu-user-static"
# Own lists and state: apt-get neither uses nor changes what this machine has installed.
APT_SETTINGS = """\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; "{native}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Debug::NoLocking "true";
Dir::Cache "{base}";
Dir::Cache::archives "{base}/archives";
Dir::State "{base}/state";
Dir::State::lists "{base}/lists";
Dir::State::status "{base}/status";
"""


class UnavailableError(Exception):
    """Something that the emulation needs is missing; the message says what to do."""


class System:
    """The unpacked system below a directory, with the program that emulates it."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.root = base / "system"
        self.emulator = Path(shutil.which(EMULATOR) or base / "emulator" / "usr" / "bin" / EMULATOR)

    def prepare(self) -> None:
        """Download and unpack the system unless it is there."""
        wanted = " ".join(PACKAGES)
        if self.remembers("system", wanted) and self.emulator.exists():
            return
        print("arm64: downloading the system", flush=True)
        self._prepare_apt()
        apt = self._base / "apt"
        self._apt("update")
        self._apt("install", "--yes", "--download-only", *PACKAGES)
        self._unpack(sorted(apt.glob("archives/*.deb")))
        if not self.emulator.exists():
            self._unpack_emulator(_native())
        self.remember("system", wanted)
        shutil.rmtree(apt)

    def remembers(self, step: str, content: str) -> bool:
        """Tell whether a step was done last with this content."""
        noted = self._base / f"{step}.done"
        return noted.exists() and noted.read_text() == content

    def remember(self, step: str, content: str) -> None:
        """Note that a step is done."""
        (self._base / f"{step}.done").write_text(content)

    @property
    def build_settings(self) -> Path:
        """The module that tells builds about the system's Python, in a directory of its own."""
        (original,) = self.root.glob("usr/lib/python3.*/_sysconfigdata__aarch64-linux-gnu.py")
        alone = self._base / "settings" / original.name
        alone.parent.mkdir(exist_ok=True)
        shutil.copy(original, alone)
        return alone

    @property
    def python_version(self) -> str:
        """The version of Python in the system, such as 3.11."""
        (library,) = self.root.glob("usr/lib/python3.*/os.py")
        return library.parent.name.removeprefix("python")

    @property
    def python_headers(self) -> Path:
        """The directory with Python.h."""
        return self.root / "usr" / "include" / f"python{self.python_version}"

    @property
    def packages(self) -> Path:
        """The directory from which its Python imports what pip installed."""
        return self.root / "usr/local/lib" / f"python{self.python_version}" / "dist-packages"

    def _prepare_apt(self) -> None:
        apt = self._base / "apt"
        shutil.rmtree(apt, ignore_errors=True)
        for name in ("lists/partial", "archives/partial", "state"):
            (apt / name).mkdir(parents=True)
        (apt / "status").touch()
        settings = APT_SETTINGS.format(base=apt, native=_native())
        (apt / "apt.conf").write_text(settings)

    def _apt(self, *arguments: str, directory: Path | None = None) -> None:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        environment["APT_CONFIG"] = str(self._base / "apt" / "apt.conf")
        command = ["apt-get", "--quiet=2", *arguments]
        done = subprocess.run(
            command, env=environment, cwd=directory, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UnavailableError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")

    def _unpack(self, packages: list[Path]) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("bin", "lib", "sbin"):  # some packages still use the old paths
            (self.root / "usr" / name).mkdir(parents=True)
            (self.root / name).symlink_to(f"usr/{name}")
        for package in packages:
            _unpack(package, self.root)
        self._complete()

    def _complete(self) -> None:
        """Add what the scripts of the packages would, and the places for mounts."""
        for name, target in {"cc": "gcc", "sh": "bash"}.items():
            (self.root / "usr/bin" / name).unlink(missing_ok=True)
            (self.root / "usr/bin" / name).symlink_to(target)
        for name in ("dev", "etc", "mnt", "proc", "tmp", "work"):
            (self.root / name).mkdir(exist_ok=True)
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
        (self.root / "etc/group").write_text("root:x:0:\n")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")

    def _unpack_emulator(self, native: str) -> None:
        self._apt("download", f"{EMULATOR_PACKAGE}:{native}", directory=self._base / "apt")
        target = self._base / "emulator"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for package in (self._base / "apt").glob(f"{EMULATOR_PACKAGE}_*.deb"):
            _unpack(package, target, "--wildcards", f"*/{EMULATOR}")
        if not self.emulator.exists():
            raise UnavailableError(f"{EMULATOR} is missing; install it")


def _native() -> str:
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _unpack(package: Path, target: Path, *members: str) -> None:
    """Unpack a package; `dpkg-deb --extract` would replace links to directories."""
    tar = ["tar", "-x", "--no-same-owner", "--keep-directory-symlink", "-C", str(target), *members]
    read = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(read, stdout=subprocess.PIPE) as reader:
        subprocess.run(tar, stdin=reader.stdout, check=True)
    if reader.returncode:
        raise subprocess.CalledProcessError(reader.returncode, reader.args)
