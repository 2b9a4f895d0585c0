"""Make ``import torchvision`` work where its build does not fit that of torch: beside the CPU build, one for CUDA.

Package indexes other than PyTorch's own have torchvision for CUDA alone. Beside the CPU build of torch its compiled
operators cannot be loaded, and then its import fails, and with it that of transformers, lightning and timm, which only
want to know that it is there. The Makefile calls this for its own .venv after the extras are installed. Where the
import works, nothing is done. Else the two operators that the import asks for are declared, without any code: who
calls one gets PyTorch's error. No test and no example does.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

MISSING = "operator torchvision::nms does not exist"
DECLARED = """

# Declared by tools/torchvision_import.py of lossmith, since the compiled operators do not fit this build of torch.
for _operator in ("nms", "qnms"):
    torch.library.define(f"torchvision::{_operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def import_error() -> str:
    """What ``import torchvision`` ends with in a fresh process; empty if it works."""
    run = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True)
    return run.stderr if run.returncode else ""


def main() -> None:
    """Declare the operators if they are what is missing."""
    spec = find_spec("torchvision")
    error = import_error() if spec is not None else ""
    if not error:
        return
    if spec is None or spec.origin is None or MISSING not in error:
        raise SystemExit(f"torchvision cannot be imported, and not for want of its operators:\n{error}")
    extension = Path(spec.origin).with_name("extension.py")
    extension.write_text(extension.read_text(encoding="utf-8") + DECLARED, encoding="utf-8")
    error = import_error()
    if error:
        raise SystemExit(f"torchvision cannot be imported, though its operators are declared now:\n{error}")
    print("torchvision is built for CUDA, and torch is not: it is used without its operators")


if __name__ == "__main__":
    main()
