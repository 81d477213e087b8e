#!/bin/sh
# Options for another Node must not reach this one.
unset NODE_OPTIONS NODE_PATH
exec /usr/lib/metabind/bin/node --max-semi-space-size=1 --max-old-space-size=96 /usr/lib/metabind/metabind.cjs "$@"
