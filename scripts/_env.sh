# Sourced by the other scripts: makes .venv beside setup.py and sets ROOT and PYTHON.
#
# The environment is made anew or brought up to date when scripts/constraints.txt or
# setup.py changed. FM2S_STACK_PYTHON names the Python to make it with. Where the default
# build of torch is a large one for CUDA, FM2S_STACK_TORCH_INDEX names an index with another.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=$ROOT/.venv/bin/python

recent_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate candidates=${FM2S_STACK_PYTHON:-python3.11 python3.12 python3.13 python3}
    for candidate in $candidates; do
        if recent_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "fm2s-stack needs Python 3.11 or newer, and none of these is: $candidates." \
        "Install one, or name it in FM2S_STACK_PYTHON." >&2
    return 1
}

make_venv() {
    local base
    base=$(find_python) || return 1
    if ! "$base" -c 'import venv, ensurepip' 2>/dev/null; then
        echo "$base has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2
        return 1
    fi
    echo "Making .venv with $("$base" --version)" >&2
    "$base" -m venv --clear "$ROOT/.venv"
}

pip_install() {
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@"
}

install_torch() {
    local pinned index=()
    pinned=$(grep '^torch==' "$ROOT/scripts/constraints.txt")
    [ -z "${FM2S_STACK_TORCH_INDEX:-}" ] || index=(--no-deps --index-url "$FM2S_STACK_TORCH_INDEX")
    # The exact version, before anything asks for torch in a looser way.
    pip_install --constraint "$ROOT/scripts/constraints.txt" "${index[@]}" "$pinned"
}

environment_stamp() {
    "$PYTHON" --version
    cksum <"$ROOT/scripts/constraints.txt"
    cksum <"$ROOT/setup.py"
}

ensure_environment() {
    local stamp=$ROOT/.venv/fm2s-stack-stamp
    recent_enough "$PYTHON" || make_venv || return 1
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(environment_stamp)" ]; then
        return
    fi
    echo "Installing the package and its pinned dependencies; the first time takes minutes" >&2
    install_torch || return 1
    pip_install --constraint "$ROOT/scripts/constraints.txt" \
        --editable "$ROOT[test,lint]" || return 1
    environment_stamp >"$stamp"
}

ensure_environment || {
    echo "The environment could not be made; see above." >&2
    exit 1
}
cd "$ROOT" || exit 1
