#!/bin/sh
# Who may include whom, and who may link what: the table of docs/ARCHITECTURE.md, checked on the tree as it is.
# Prints every violation; ends with 1 when there was one. BUILD names the folder of the binaries (default build).
cd "$(dirname "$0")/.." || exit 2
BUILD=${BUILD:-build}
bad=$(mktemp) || exit 2
trap 'rm -f "$bad"' EXIT

# common, in order: a file includes only what stands before it. A module's parts are named for it: http_parse
# is a part of http and stands where http does.
COMMON="mem crc32c enrol log clock json ticket billing net proxy mp3 mount msg conf stats proc tls access limits ring pacer loop filler http fanout gate station front hls link fetch"
# what workers may use of common beside their own families (design: wire, msg, proc, conf) and what all may
BASE="mem log clock json"

# family(file): the row of the table that rules it
family() {
    case $1 in
    common/*) echo common ;;
    root/track*.[ch]) echo track ;;
    root/sample.[ch]) echo sample ;;
    root/wire.[ch]) echo wire ;;
    root/main.c) echo air ;;
    root/*/*) d=${1#root/}; echo "${d%%/*}" ;;
    relay/*) echo relay ;;
    tests/load/*) echo load ;;
    esac
}

# may FAMILY HEADER: does the table allow it?
may() {
    fam=$1 header=$2
    base=${header##*/}; base=${base%.h}
    case $header in
    common/*) for b in $BASE; do [ "$b" = "$base" ] && return 0; done ;;
    esac
    [ "$(family "$header")" = "$fam" ] && [ "$fam" != common ] && return 0
    case $fam:$header in
    audio:common/mp3.h) return 0 ;;  # the frames it makes
    audio:root/track.h) return 0 ;;  # decode fills in tags, a value type
    analysis:root/audio/* | analysis:root/track.h) return 0 ;;
    mix:root/audio/* | mix:root/track.h | mix:common/mp3.h) return 0 ;;
    order:root/track.h) return 0 ;;
    source:common/fetch.h | source:root/track.h) return 0 ;;
    library:root/track.h | library:root/sample.h) return 0 ;;
    wire:common/msg.h) return 0 ;;
    work:root/track.h | work:root/wire.h | work:root/sample.h) return 0 ;;
    work:root/library/* | work:root/audio/* | work:root/analysis/* | work:root/order/* | work:root/mix/* | work:root/source/*) return 0 ;;
    work:common/mount.h | work:common/loop.h | work:common/crc32c.h | work:common/msg.h | work:common/proc.h | work:common/conf.h | work:common/mp3.h) return 0 ;;
    air:common/* | air:root/track.h | air:root/wire.h | air:root/sample.h) return 0 ;;
    relay:common/*) return 0 ;;
    load:common/mp3.h) return 0 ;;
    esac
    return 1
}

# rank NAME: its module's place in COMMON, or nothing
rank() {
    n=0
    for c in $COMMON; do
        n=$((n + 1))
        [ "$c" = "${1%%_*}" ] && echo "$n" && return
    done
}

git_or_find() {
    find common root relay tests/load -name '*.[ch]' 2>/dev/null | sort
}

for file in $(git_or_find); do
    fam=$(family "$file")
    if [ -z "$fam" ]; then
        echo "$file: belongs to no family of the table" >>"$bad"
        continue
    fi
    self=${file##*/}; self=${self%.[ch]}
    if [ "$fam" = common ] && [ -z "$(rank "$self")" ]; then
        echo "$file: has no place in the order of common (tests/layers.sh)" >>"$bad"
    fi
    sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file" | while read -r header; do
        if [ ! -f "$header" ]; then
            echo "$file: includes \"$header\", which is no path from the top of the tree" >>"$bad"
        elif [ "$fam" = common ]; then
            other=${header##*/}; other=${other%.h}
            case $header in common/*) ;; *) echo "$file: includes $header: common knows only common" >>"$bad"; continue ;; esac
            [ "$other" = "$self" ] && continue
            a=$(rank "$self") b=$(rank "$other")
            [ -n "$a" ] && [ -n "$b" ] && [ "$b" -gt "$a" ] && echo "$file: includes $header, which comes after it" >>"$bad"
        else
            may "$fam" "$header" || echo "$file: $fam may not include $header" >>"$bad"
        fi
    done

    # libraries that only one module knows
    sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<\([^>]*\)>.*/\1/p' "$file" | while read -r header; do
        case $header in
        libav* | libsw*) only='root/audio/decode*.c' ;;
        lame/*) only='root/audio/encode*.c' ;;
        sqlite3.h) only='root/library/*' ;;
        curl/*) only=common/fetch.c ;;
        openssl/ssl.h) case $file in tests/load/*) continue ;; esac; only='common/tls*' ;;
        llhttp.h) only='common/http*.c' ;;
        rubberband/*) only=root/audio/stretch.c ;;
        maxminddb.h) only=root/air/geo.c ;;
        ini.h) only=common/conf.c ;;
        *) continue ;;
        esac
        # shellcheck disable=SC2254 -- a pattern
        case $file in $only) ;; *) echo "$file: includes <$header>, which is for $only alone" >>"$bad" ;; esac
    done
done

for program in forever-root forever-relay; do
    for place in "$BUILD/$program" "./$program"; do
        [ -x "$place" ] || continue
        ldd "$place" | grep -Eo 'lib(av[a-z]*|sw[a-z]*|mp3lame|sqlite3)\.so[^ ]*' | sort -u | while read -r lib; do
            echo "$place: links $lib" >>"$bad"
        done
    done
done

if [ -s "$bad" ]; then
    cat "$bad"
    echo "layers: $(wc -l <"$bad") violations"
    exit 1
fi
echo "layers: $(git_or_find | wc -l) files keep the table"
