"""The programs that the benches start."""

import os
import pathlib
import subprocess

REPO = pathlib.Path(__file__).resolve().parent.parent


def binaries(given):
    """Where ws-gateway and ws-load are: in that folder, or else in the dist build, which is made."""
    if given:
        return given.resolve()
    subprocess.run(["cargo", "build", "--profile", "dist", "--quiet", "--workspace"], cwd=REPO, check=True)
    return (pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")) / "dist").resolve()
