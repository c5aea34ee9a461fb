"""The front door is cheap: settings are read without drawing anything."""

import subprocess
import sys


def test_settings_import_no_heavy_library() -> None:
    code = (
        "import sys, ethicclip.generation.settings, ethicclip.generation;"
        "print([name for name in ('cv2', 'torch', 'matplotlib', 'faiss') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
