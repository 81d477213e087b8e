#!/bin/sh
# The command line, run by the Node of the package.

# @foreign@

# Units may forbid a program to make code at run time (MemoryDenyWriteExecute=), and for most verbs it
# does not pay either.
jit() {
  case $1 in
    audit | simulate) ;;
    *) echo --jitless ;;
  esac
}

run() {
  unset NODE_OPTIONS $(foreign)
  exec /usr/lib/metabind/bin/node --max-semi-space-size=1 --max-old-space-size=96 $(jit "$1") \
    /usr/lib/metabind/metabind.cjs "$@"
}

case "$1 $2" in
  'exec -h' | 'exec --help' | 'exec -V' | 'exec --version') ;;
  exec\ *)
    shift
    # This shell becomes the command, with the signals, limits, descriptors and environment that it was
    # started with. Node has other ones, and only says what to add to the environment.
    eval "$( (run exec --script "$@") || echo "exit $?")"
    ;;
esac
run "$@"
