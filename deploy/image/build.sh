#!/bin/sh
# Builds the image with $BUILDER, else what is there of docker, podman, buildah; `make image` calls it.
#   build.sh TARGET NAME [further arguments, such as --build-arg BASE=…]
set -eu
target=$1 name=$2
shift 2
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' sidecar/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
set -- --target "$target" --tag "$name" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" .

# Only Docker's own format has a place for the health check.
builder=${BUILDER:-}
[ -n "$builder" ] || { docker version >/dev/null 2>&1 && builder=docker; } ||
    for builder in podman buildah ''; do command -v "$builder" >/dev/null && break; done
case $builder in
docker) exec docker build "$@" ;;
podman) exec podman build --format docker "$@" ;;
buildah) exec buildah bud --format docker "$@" ;;
*) echo "An image is built by docker, podman or buildah, and none of them is here." >&2 && exit 1 ;;
esac
