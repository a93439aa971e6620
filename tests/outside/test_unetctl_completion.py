"""What bash offers behind Tab, asked of bash itself."""

import shlex
import subprocess

import pytest
from unetctl_process import UNETCTL, digits  # noqa: F401 (a fixture)

# Splits a line as bash does before it calls a completion function, and prints what that offers.
ASK = """
source <({unetctl} completion bash)
COMP_LINE={line}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_unetctl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(*words, cwd=None):
    """What is offered for the last word; '=' is a word of its own, as it is for bash."""
    line = " ".join(words).replace(" = ", "=")
    script = ASK.format(
        unetctl=shlex.quote(str(UNETCTL)), line=shlex.quote(line), words=" ".join(map(shlex.quote, words))
    )
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60, cwd=cwd)
    assert done.stderr == "", done.stderr
    return set(done.stdout.split("\n")) - {""}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.npy").touch()
    (tmp_path / "b c").mkdir()
    return tmp_path


def test_the_script_is_bash():
    script = subprocess.run([UNETCTL, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "complete -F _unetctl unetctl" in script


def test_commands_and_flags():
    everything = offered("unetctl", "")
    assert {"predict", "step", "denoise", "bench", "models", "layers", "processors", "profile", "completion"} <= everything
    assert offered("unetctl", "pre") == {"predict"}
    assert offered("unetctl", "-a", "127.0.0.1:1", "den") == {"denoise"}
    assert offered("unetctl", "--ver") == {"--version"}
    assert offered("unetctl", "predict", "--inp") == {"--inputs", "--input"}
    assert "--latents" not in offered("unetctl", "step", "--")
    assert "--address" in offered("unetctl", "bench", "--")


def test_words_of_an_option():
    assert offered("unetctl", "bench", "--kind", "") == {"infer", "step", "denoise"}
    assert offered("unetctl", "bench", "-k", "s") == {"step"}
    assert offered("unetctl", "bench", "--kind", "=", "d") == {"denoise"}
    assert offered("unetctl", "completion", "b") == {"bash"}
    assert offered("unetctl", "profile", "--by", "") == {"operator", "kind", "layer"}
    assert offered("unetctl", "bench", "--rows", "") == set()  # a number: nobody can guess it


def test_files(folder):
    assert offered("unetctl", "step", "--sample", "", cwd=folder) == {"a.npy", "b c"}
    assert offered("unetctl", "denoise", "--png", "=", "", cwd=folder) == {"a.npy", "b c"}
    assert offered("unetctl", "predict", "--input", "sample", "=", "a", cwd=folder) == {"a.npy"}
    assert offered("unetctl", "predict", "--input", "sample", "=", cwd=folder) == {"a.npy", "b c"}
    assert offered("unetctl", "denoise", "--scheduler", "a", cwd=folder) == {"a.npy"}
    assert offered("unetctl", "denoise", "--previews", "", cwd=folder) == {"b c"}


def test_names_that_the_server_has(digits):
    unetctl = [str(UNETCTL), "--address", digits.address]
    assert offered(*unetctl, "predict", "--model", "") == {"digits"}
    assert offered(*unetctl, "denoise", "-v", "") == {"baseline", "sliced"}
    assert offered(*unetctl, "denoise", "-m", "digits", "-v", "s") == {"sliced"}
    assert offered(*unetctl, "denoise", "--variant-conditions", "s") == {"sliced="}
    assert offered(*unetctl, "layers", "") == {"digits"}
    assert offered(*unetctl, "layers", "digits", "-v", "b") == {"baseline"}
    assert offered(*unetctl, "profile", "") == {"digits"}
    assert offered(*unetctl, "profile", "digits", "-v", "s") == {"sliced"}
    assert "SlicedAttnProcessor" in offered(*unetctl, "processors", "Sl")


def test_no_server_offers_nothing():
    assert offered(str(UNETCTL), "--address", "127.0.0.1:1", "predict", "--model", "") == set()
