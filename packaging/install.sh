#!/bin/sh
# Installs daxshim from the unpacked archive that this is in, or removes it.
set -eu

usage() {
    cat <<'TEXT'
Usage: ./install.sh             installs below PREFIX, or replaces what is there
       ./install.sh uninstall   removes it; so does PREFIX/libexec/daxshim/uninstall

Environment:
  PREFIX   where (default: /usr/local; without root, say, $HOME/.local)
  LIBDIR   the directory for libraries below it: lib (default), lib64 or lib/x86_64-linux-gnu
  DESTDIR  put in front of PREFIX, to make a package of it
TEXT
}

# fail WHAT WHY HOW
fail() {
    printf 'install.sh: %s: %s\n  %s\n' "$1" "$2" "$3" >&2
    exit 1
}

here=$(cd -- "$(dirname -- "$0")" && pwd -P)
action=${1:-install}
# The copy that is installed knows where.
case $0 in
*/uninstall | uninstall)
    action=uninstall
    : "${PREFIX:=${here%/libexec/daxshim}}"
    ;;
esac
PREFIX=${PREFIX:-/usr/local}
LIBDIR=${LIBDIR:-lib}
DESTDIR=${DESTDIR:-}
manifest=$PREFIX/libexec/daxshim/installed

case $action in
install | uninstall) ;;
-h | --help | help)
    usage
    exit 0
    ;;
*) fail "unknown argument '$action'" 'it is install or uninstall' 'See ./install.sh --help.' ;;
esac
[ "$#" -le 1 ] || fail 'too many arguments' 'one is taken' 'See ./install.sh --help.'
case $PREFIX in
/*) ;;
*) fail "cannot use PREFIX=$PREFIX" 'it is not an absolute path' 'Begin it with /.' ;;
esac
# LD_PRELOAD is split there, and nothing quotes it; the list of what is installed has a file a line.
case $PREFIX$LIBDIR in
*[[:space:]:\$\&\|\\]*) fail "cannot use PREFIX=$PREFIX" 'LD_PRELOAD can not name a library there' 'Use a path of letters, digits, dots and dashes.' ;;
esac
case $LIBDIR in
lib | lib64 | lib/*-linux-gnu) ;;
*) fail "cannot use LIBDIR=$LIBDIR" 'the command does not look for its library there' 'Use lib, lib64 or lib/x86_64-linux-gnu.' ;;
esac
root=$DESTDIR$PREFIX

uninstall() {
    [ -e "$DESTDIR$manifest" ] || fail "cannot remove daxshim from $root" "$DESTDIR$manifest is not there" \
        "Nothing was installed there by this script, or it was removed; PREFIX=DIR names another place."
    [ -w "$root/libexec/daxshim" ] || fail "cannot remove daxshim from $root" "$root cannot be written to" \
        'Run this as root.'
    if [ -z "$DESTDIR" ] && grep -qsF "$PREFIX/$LIBDIR/libdaxshim.so" /etc/ld.so.preload; then
        fail 'cannot remove libdaxshim.so' '/etc/ld.so.preload names it: each program would say that it is missing' \
            'Remove that line first.'
    fi
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] &&
        [ -e "$root/lib/systemd/system/daxshim-guard.service" ]; then
        systemctl disable --now daxshim-guard.service >/dev/null 2>&1 || true
    fi
    kept=$(mktemp)
    cp -- "$DESTDIR$manifest" "$kept"
    # The list of files goes last: what was half removed can be removed again.
    sed -n 's/^file //p' "$kept" | while read -r path; do
        [ "$path" = libexec/daxshim/installed ] || rm -f -- "$root/$path"
    done
    rm -f -- "$DESTDIR$manifest"
    # Directories that the installation made, innermost first, where nobody else has put something.
    sed -n 's/^made //p' "$kept" | sort -r | while read -r path; do
        rmdir -- "$root/$path" 2>/dev/null || true
    done
    rm -f -- "$kept"
    echo "daxshim is removed from $root"
}

# What this machine must have, unless it is staged for another.
examine() {
    machine=$(uname -m)
    [ "$machine" = x86_64 ] || fail 'cannot install' "this is for x86_64, and the machine is $machine" \
        'Build it from source there (docs/install.md).'
    if ! said=$("$here/bin/daxshim" --version 2>&1); then
        case $said in
        *libgcc_s*) fail 'the command does not start' "$said" 'Install libgcc (Debian: libgcc-s1; Fedora: libgcc).' ;;
        esac
        fail 'the command does not start' "${said:-nothing was said}" \
            'It needs glibc 2.28 or newer: Debian 10, RHEL 8, Ubuntu 18.10, or later. musl (Alpine) does not do.'
    fi
    owner=$( (dpkg-query -S "$PREFIX/bin/daxshim" || rpm -qf "$PREFIX/bin/daxshim") 2>/dev/null) || owner=
    [ -z "$owner" ] || fail "cannot install in $PREFIX" "$PREFIX/bin/daxshim belongs to a package ($owner)" \
        'Remove the package first, or use another PREFIX.'
}

# Takes back what an installation that did not come to its end has left.
# shellcheck disable=SC2317 # called by a trap
undo() {
    status=$?
    trap - EXIT
    [ -z "$new" ] || while read -r path; do
        rm -f -- "$root/$path.daxshim-new"
    done <"$new"
    [ -z "$made" ] || sort -r "$made" | while read -r path; do
        rmdir -- "$root/$path" 2>/dev/null || true
    done
    rm -f -- "$new" "$made"
    exit "$status"
}

# directory PATH: makes it below the prefix, with what leads there, and notes what was not there.
directory() {
    [ ! -d "$root/$1" ] || return 0
    case $1 in
    */*) directory "$(dirname -- "$1")" ;;
    esac
    mkdir -- "$root/$1" || fail "cannot install in $root" "$root/$1 cannot be made" \
        'Run this as root, or set PREFIX to a directory of yours, such as $HOME/.local.'
    echo "$1" >>"$made"
}

install_all() {
    new='' made=''
    [ -n "$DESTDIR" ] || examine
    mkdir -p -- "$root" 2>/dev/null && [ -w "$root" ] || fail "cannot install in $root" 'it cannot be written to' \
        'Run this as root, or set PREFIX to a directory of yours, such as $HOME/.local.'
    trap undo EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    new=$(mktemp) made=$(mktemp)
    version=$(cat "$here/VERSION")
    before=
    [ ! -e "$DESTDIR$manifest" ] || before=$(sed -n 's/^version //p' "$DESTDIR$manifest")
    # All of it under other names, then each into its place: a running program keeps the library that it has.
    (cd -- "$here" && find bin include lib libexec share -type f) | sort | while read -r path; do
        to=$path
        case $path in
        lib/systemd/*) ;;
        lib/*) to=$LIBDIR/${path#lib/} ;;
        esac
        directory "$(dirname -- "$to")"
        echo "$to" >>"$new"
        case $path in
        *.pc | *.service)
            sed "s|@PREFIX@|$PREFIX|g; s|@LIBRARIES@|$LIBDIR|g" "$here/$path" >"$root/$to.daxshim-new"
            ;;
        *) cp -- "$here/$path" "$root/$to.daxshim-new" ;;
        esac
        case $path in
        bin/* | libexec/daxshim/vm | libexec/daxshim/deps | libexec/daxshim/uninstall) chmod 755 "$root/$to.daxshim-new" ;;
        *) chmod 644 "$root/$to.daxshim-new" ;;
        esac
    done
    list=$root/libexec/daxshim/installed.daxshim-new
    {
        echo "version $version"
        sed 's/^/file /' "$new"
        echo 'file libexec/daxshim/installed'
        { sed 's/^/made /' "$made"; grep '^made ' "$DESTDIR$manifest" 2>/dev/null || true; } | sort -u
    } >"$list"
    old=$(mktemp)
    [ ! -e "$DESTDIR$manifest" ] || sed -n 's/^file //p' "$DESTDIR$manifest" >"$old"
    # From here on it can only be completed, by running it once more; what is installed is listed.
    : >"$made"
    mv -f -- "$list" "$DESTDIR$manifest"
    while read -r path; do
        mv -f -- "$root/$path.daxshim-new" "$root/$path"
    done <"$new"
    while read -r path; do
        grep -qxF "file $path" "$DESTDIR$manifest" || rm -f -- "$root/$path"
    done <"$old"
    rm -f -- "$old"
    if [ -n "$before" ] && [ "$before" != "$version" ]; then
        echo "daxshim $version is installed in $root, in the place of $before"
    else
        echo "daxshim $version is installed in $root"
    fi
    [ -n "$DESTDIR" ] || case :$PATH: in
    *:$PREFIX/bin:*) echo 'Now: daxshim demo' ;;
    *) echo "Now: $PREFIX/bin/daxshim demo" ;;
    esac
}

case $action in
install) install_all ;;
uninstall) uninstall ;;
esac
