#!/bin/sh
# Installs slicer-k3s: fetches the release archive for this system, verifies its sha256, puts the program in place.
#
#   curl -sSfL https://github.com/slicer-k3s/slicer-k3s/releases/latest/download/install.sh | sh
#
# Environment:
#   SLICER_K3S_VERSION      a release such as v0.1.0 (default: the latest)
#   SLICER_K3S_INSTALL_DIR  where the program goes (default: ~/.local/bin; no root needed)
#   SLICER_K3S_BASE_URL     where releases lie (default: the project's releases; a mirror's address here)
set -eu

# Everything runs from main, called on the last line: a script cut off in transit does nothing.
main() {
    version=${SLICER_K3S_VERSION:-latest}
    directory=${SLICER_K3S_INSTALL_DIR:-"${HOME:?HOME is not set; set SLICER_K3S_INSTALL_DIR}/.local/bin"}
    base=${SLICER_K3S_BASE_URL:-https://github.com/slicer-k3s/slicer-k3s/releases}

    case "$(uname -s)" in
        Linux) os=linux ;;
        Darwin) os=darwin ;;
        *) fail "no release for $(uname -s)" "build it from source with cargo" ;;
    esac
    case "$(uname -m)" in
        x86_64 | amd64) arch=x86_64 ;;
        aarch64 | arm64) arch=aarch64 ;;
        *) fail "no release for $(uname -m)" "build it from source with cargo" ;;
    esac
    archive=slicer-k3s-$os-$arch.tar.gz
    if [ "$version" = latest ]; then from=$base/latest/download; else from=$base/download/$version; fi

    work=$(mktemp -d)
    trap 'rm -rf "$work" "${staged:-}"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    say "fetching $archive ($version)"
    fetch "$from/$archive" "$work/$archive"
    fetch "$from/$archive.sha256" "$work/$archive.sha256"
    expected=$(awk '{print $1; exit}' "$work/$archive.sha256")
    found=$(checksum "$work/$archive")
    [ "${#expected}" -eq 64 ] || fail "$archive.sha256 holds no checksum" "try again, or another mirror"
    [ "$expected" = "$found" ] || fail "checksum of $archive is $found, not $expected" "nothing was installed; try again, or another mirror"

    tar -xzf "$work/$archive" -C "$work" slicer-k3s || fail "$archive holds no slicer-k3s" "nothing was installed"
    chmod 0755 "$work/slicer-k3s"
    "$work/slicer-k3s" --version >/dev/null 2>&1 || fail "the program does not run on this system" "nothing was installed; build it from source with cargo"

    mkdir -p "$directory" 2>/dev/null || fail "cannot make $directory" "set SLICER_K3S_INSTALL_DIR to a directory of yours"
    # Staged beside the target so that the last move is atomic: the old program or the new one, never half.
    staged=$(mktemp "$directory/.slicer-k3s.XXXXXX" 2>/dev/null) || fail "cannot write to $directory" "set SLICER_K3S_INSTALL_DIR to a directory of yours"
    cp "$work/slicer-k3s" "$staged"
    chmod 0755 "$staged"
    mv -f "$staged" "$directory/slicer-k3s"
    say "installed $("$directory/slicer-k3s" --version) as $directory/slicer-k3s"
    case ":$PATH:" in
        *":$directory:"*) say "next: slicer-k3s init --help" ;;
        *) say "next: add $directory to PATH, then: slicer-k3s init --help" ;;
    esac
}

say() {
    printf '%s\n' "$1" >&2
}

fail() {
    printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
    exit 1
}

fetch() {
    if command -v curl >/dev/null 2>&1; then
        curl -sSfL --retry 2 --connect-timeout 20 -o "$2" "$1" || fail "cannot fetch $1" "check the network and SLICER_K3S_VERSION"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -T 20 -O "$2" "$1" || fail "cannot fetch $1" "check the network and SLICER_K3S_VERSION"
    else
        fail "neither curl nor wget is installed" "install one of them"
    fi
}

checksum() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1" | awk '{print $1}'
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 "$1" | awk '{print $1}'
    else
        fail "neither sha256sum nor shasum is installed" "install one of them"
    fi
}

main "$@"
