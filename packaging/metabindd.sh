#!/bin/sh
# The agent, run by the Node of the package. The unit does without this file.

# @foreign@

unset NODE_OPTIONS $(foreign)
exec /usr/lib/metabind/bin/node --max-semi-space-size=1 --max-old-space-size=96 /usr/lib/metabind/metabindd.cjs "$@"
