#!/bin/sh
# Locks pyproject.toml into requirements.txt (the worker) and requirements-dev.txt (everything), with hashes and without index addresses.
set -eu
compile() {
    title=$1 output=$2
    shift 2
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o "$output" "$@"
    { echo "# Lock of $title, made from pyproject.toml by: make lock"; cat "$output"; } > "$output.new"
    mv "$output.new" "$output"
}
compile "the worker (its image has this and nothing more)" requirements.txt "$@"
compile "development: the worker, the lab, the tests" requirements-dev.txt --group lab --group test --group lint -c requirements.txt "$@"
