#!/bin/sh
# Brings what a build needs and the machine lacks into .tools, without root: uv, etcd with etcdctl; for tests h2spec; and
# checks cargo.
# How it fails: with one line that says what is missing and what to type.
set -eu
uv_version=0.13.9
etcd_version=3.6.16
h2spec_version=2.2.1
rust_minor=89
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft
mkdir -p .tools/bin

die() { echo "$1" >&2; exit 1; }

# Unpack Debian packages into .tools/deb. Lists are fetched only where there are none and we may.
unpack() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    mkdir -p .tools/deb
    if [ "$(id -u)" = 0 ] && ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then apt-get -qq update; fi
    (
        cd .tools/deb
        apt-get -q download "$@" >/dev/null 2>&1 || exit 1
        for deb in *.deb; do dpkg-deb -x "$deb" . && rm "$deb"; done
    )
}

# A given name always means one whole file: what runs under the old one keeps it.
install_file() {
    mkdir -p "$(dirname "$2")"
    cmp -s "$1" "$2" && return 0
    cp "$1" "$2.new.$$"
    chmod 755 "$2.new.$$"
    mv -f "$2.new.$$" "$2"
}

# 3.4.22 and later, or 3.5.6 and later: others lose acknowledged writes.
usable() {
    found=$("$1" --version 2>/dev/null | sed -n 's/^etcd Version: //p')
    case $found in
    3.4.2[2-9]* | 3.4.[3-9][0-9]* | 3.5.[6-9]* | 3.5.[1-9][0-9]* | 3.[6-9].* | [4-9].*) return 0 ;;
    *) return 1 ;;
    esac
}

link() { ln -sfn "$1" ".tools/bin/$2"; }

built_etcd() {
    home=$cache/etcd-$etcd_version
    if [ ! -x "$home/etcd" ] || [ ! -x "$home/etcdctl" ]; then
        command -v go >/dev/null || return 1
        echo "Building etcd $etcd_version: about a minute, once for this user."
        new=$cache/etcd.new.$$
        mkdir -p "$new" "$home"
        (
            cd ops/etcd
            CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags='-s -w' -o "$new/etcd" go.etcd.io/etcd/server/v3 &&
                CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags='-s -w' -o "$new/etcdctl" go.etcd.io/etcd/etcdctl/v3
        ) || { rm -rf "$new"; echo "etcd could not be built; looking for another." >&2; return 1; }
        mv -f "$new/etcd" "$home/etcd"
        mv -f "$new/etcdctl" "$home/etcdctl"
        rmdir "$new"
    fi
    link "$home/etcd" etcd
    link "$home/etcdctl" etcdctl
}

installed_etcd() {
    found=$(PATH=$(echo "$PATH" | tr ':' '\n' | grep -v '/\.tools/bin$' | paste -sd:) command -v etcd) || return 1
    usable "$found" || { echo "$found cannot be used: Weft needs etcd 3.4.22 or later, and of 3.5 at least 3.5.6." >&2; return 1; }
    link "$found" etcd
    ctl=$(dirname "$found")/etcdctl
    if [ -x "$ctl" ]; then link "$ctl" etcdctl; else debian_package etcd-client etcdctl; fi
}

debian_package() { unpack "$1" && link ../deb/usr/bin/"$2" "$2"; }

debian_etcd() { debian_package etcd-server etcd && debian_package etcd-client etcdctl && usable .tools/bin/etcd; }

built_h2spec() {
    home=$cache/h2spec-$h2spec_version
    if [ ! -x "$home/h2spec" ]; then
        command -v go >/dev/null || return 1
        echo "Building h2spec $h2spec_version: seconds, once for this user."
        new=$cache/h2spec.new.$$
        mkdir -p "$new" "$home"
        (cd ops/h2spec && CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags='-s -w' -o "$new/h2spec" github.com/summerwind/h2spec/cmd/h2spec) ||
            { rm -rf "$new"; echo "h2spec could not be built." >&2; return 1; }
        mv -f "$new/h2spec" "$home/h2spec"
        rmdir "$new"
    fi
    link "$home/h2spec" h2spec
}

case $1 in
uv)
    if python3 -m pip --version >/dev/null 2>&1; then
        python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --upgrade --target .tools/uv "uv==$uv_version"
    else
        unpack python3-pip-whl || die "uv and pip are missing: sudo apt install python3-pip, then try again"
        PYTHONPATH=$(echo .tools/deb/usr/share/python-wheels/pip-*.whl) python3 -m pip install -q --target .tools/uv "uv==$uv_version"
    fi
    link ../uv/bin/uv uv
    ;;
etcd)
    if [ -n "${WEFT_ETCD:-}" ]; then
        usable "$WEFT_ETCD" || die "WEFT_ETCD=$WEFT_ETCD cannot be used: Weft needs etcd 3.4.22 or later, and of 3.5 at least 3.5.6"
        link "$WEFT_ETCD" etcd
        if [ -x "$(dirname "$WEFT_ETCD")/etcdctl" ]; then link "$(dirname "$WEFT_ETCD")/etcdctl" etcdctl; else debian_package etcd-client etcdctl; fi
    else
        built_etcd || installed_etcd || debian_etcd || die "etcd is missing: sudo apt install etcd-server etcd-client (or install Go), then try again"
    fi
    [ -x .tools/bin/etcdctl ] || die "etcdctl is missing: sudo apt install etcd-client, then try again"
    echo "etcd $(.tools/bin/etcd --version | sed -n 's/^etcd Version: //p') at $(readlink -f .tools/bin/etcd)"
    ;;
h2spec)
    # Only a test wants it: without Go that test is skipped and says so.
    built_h2spec || echo "h2spec is not there (it is built where Go 1.26 or later is installed): its test is going to be skipped."
    ;;
cargo)
    command -v cargo >/dev/null || die "cargo is missing: install Rust by https://rustup.rs, open a new shell, then try again"
    version=$(cargo --version | sed 's/^cargo \([0-9.]*\).*/\1/')
    minor=$(echo "$version" | cut -d. -f2)
    [ "${version%%.*}" -gt 1 ] || [ "$minor" -ge $rust_minor ] ||
        die "cargo $version is too old: Weft needs 1.$rust_minor or later, and Debian 12's own is 1.63; install Rust by https://rustup.rs, then try again"
    ;;
claim)
    # In a shared target directory cargo takes the crates of two clones for the same ones and looks at times only, so that
    # an older clone would be given the newer one's engine. Where another clone built last, ours has to look new.
    if [ "$(cat "$CARGO_TARGET_DIR/.clone" 2>/dev/null)" != "$PWD" ]; then
        mkdir -p "$CARGO_TARGET_DIR"
        find proxy/engine -name '*.rs' -exec touch {} +
        echo "$PWD" >"$CARGO_TARGET_DIR/.clone"
    fi
    ;;
install)
    install_file "$2" "$3"
    ;;
*)
    die "usage: tools.sh uv|etcd|h2spec|cargo|claim|install FROM TO"
    ;;
esac
